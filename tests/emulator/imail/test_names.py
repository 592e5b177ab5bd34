"""emulator/imail/addresses.py, codepages.py and locales.py"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail.addresses import flat_entry_list, one_off_entry_id, read_flat_entry_list, read_one_off
from emulator.imail.codepages import charset_of, code_page, encode_text
from emulator.imail.locales import lcid, tag
from protocols.mime.charsets import decode_text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(max_examples=100)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_entry_identifiers(people: list[tuple[str, str]]) -> None:
    entries = [one_off_entry_id(name, email) for name, email in people]
    assert read_flat_entry_list(flat_entry_list(entries)) == entries
    assert [read_one_off(entry) for entry in entries] == [(name, "SMTP", email) for name, email in people]


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_arbitrary_entries(octets: bytes) -> None:
    read_one_off(octets)
    read_flat_entry_list(octets)


@pytest.mark.parametrize(
    ("charset", "page"),
    [
        ("utf-8", 65001),
        ("US-ASCII", 20127),
        ("iso-8859-1", 28591),
        ("KOI8-R", 20866),
        ("Shift_JIS", 932),
        ("x-no", 65001),
    ],
)
def test_code_pages(charset: str, page: int) -> None:
    assert code_page(charset) == page
    if charset != "x-no":
        assert charset_of(page) == charset.lower()


@settings(max_examples=100)
@given(TEXT, st.sampled_from([20127, 28591, 1252, 932, 936, 949, 50220, 65000, 65001, 20866, 7]))
def test_text_in_a_code_page(text: str, page: int) -> None:
    charset, octets = encode_text(text, page)
    assert decode_text(octets, charset) == text


def test_locales() -> None:
    assert lcid("en-US") == 0x409
    assert tag(0x409) == "en-US"
    assert tag(lcid("de")) == "de"
    assert lcid("tlh") == 0
    assert tag(0) == ""
