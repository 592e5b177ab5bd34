"""Registration of commands."""

import pytest

from protocols.registry import Registry, SyntaxProblem, no_arguments, raw_arguments


def test_verbs_are_found_in_any_case_and_registered_once() -> None:
    commands = Registry[object]()

    @commands.command("NOOP", states={"any"})
    async def noop(session: object, arguments: None) -> bytes:
        return b"ok"

    found = commands.find(b"nOoP")
    assert found is not None
    assert found.handler is noop
    assert commands.find(b"NOPE") is None
    assert [command.verb for command in commands] == ["NOOP"]
    with pytest.raises(ValueError, match="registered twice"):
        commands.command("noop", states={"any"})(noop)


def test_syntaxes() -> None:
    no_arguments(b"  ")
    with pytest.raises(SyntaxProblem):
        no_arguments(b" x")
    assert raw_arguments(b" a b\t") == b"a b"
