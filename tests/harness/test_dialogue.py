"""Dialogue files."""

import asyncio

import pytest

from harness.dialogue import DialogueError, parse_cases, run_case

TEXT = r"""
# a comment
== greets [RFC 0 section 1]
@ user alice:secret
@ message alice
| Subject: hi
|
| body
S: hello
C: ping
S~ po+ng
C< raw\x00\r\n
S* .*raw.*
C: quit
S! closed
"""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\r\n")
    while line := await reader.readline():
        if line == b"quit\r\n":
            break
        writer.write(b"pooong\r\n" if line == b"ping\r\n" else b"something else\r\ngot raw\r\n")
    writer.close()


@pytest.fixture
async def address():  # type: ignore[no-untyped-def]
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()


def test_parsing() -> None:
    (case,) = parse_cases(TEXT, "file.txt")
    assert case.title == "greets [RFC 0 section 1]"
    assert case.values("user") == ["alice:secret"]
    assert case.values("message") == ["alice\nSubject: hi\n\nbody"]
    assert [step.kind for step in case.steps] == [":", ":", "~", "<", "*", ":", "!"]
    with pytest.raises(ValueError, match=r"file\.txt:2"):
        parse_cases("== x\nnonsense", "file.txt")
    with pytest.raises(ValueError, match="begins with =="):
        parse_cases("C: x", "file.txt")


async def test_a_dialogue_that_is_as_written_passes(address) -> None:  # type: ignore[no-untyped-def]
    (case,) = parse_cases(TEXT, "file.txt")
    await run_case(case, lambda: asyncio.open_connection(*address))


@pytest.mark.parametrize("wrong", ["S: goodbye", "S~ hel", "S! closed", "S* nothing like it"])
async def test_a_difference_shows_the_dialogue(address, wrong: str) -> None:  # type: ignore[no-untyped-def]
    (case,) = parse_cases(f"== wrong\n{wrong}\n", "file.txt")
    with pytest.raises(DialogueError, match=r"hello|nothing within") as caught:
        await run_case(case, lambda: asyncio.open_connection(*address), line_seconds_max=0.2)
    assert "line 2 expects" in str(caught.value)


@pytest.mark.parametrize("line", ["| text", "S~ (", "S* [a", "C~ x", "S< x", "C! close\nC< \\x0"])
def test_what_could_not_be_run_is_told_with_its_line(line: str) -> None:
    with pytest.raises(ValueError, match=r"file\.txt:[23]"):
        parse_cases(f"== x\n{line}", "file.txt")
