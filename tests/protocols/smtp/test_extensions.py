"""The arguments of AUTH and BDAT; a chunk that is not wanted is not kept."""

from __future__ import annotations

import pytest

from protocols.smtp.extensions import AuthArguments, Chunk, auth_arguments, bdat_arguments
from protocols.smtp.grammar import Refusal


def test_auth() -> None:
    assert auth_arguments(b"plain") == AuthArguments("PLAIN", None)
    assert auth_arguments(b"XOAUTH2 =") == AuthArguments("XOAUTH2", b"=")
    for wrong in (b"", b"PLAIN a b", b"\xff"):
        with pytest.raises(Refusal):
            auth_arguments(wrong)


def test_bdat() -> None:
    assert bdat_arguments(b"86 last") == Chunk(86, True)
    assert bdat_arguments(b"0") == Chunk(0, False)
    for wrong in (b"", b"-1", b"1 LAST x", b"1 FIRST", b"1" * 21, b"0x10"):
        with pytest.raises(Refusal):
            bdat_arguments(wrong)
