"""emulator/imail/rtf_compression.py and rtf_text.py"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.imail.rtf_compression import compress_rtf, crc, decompress_rtf, store_rtf
from emulator.imail.rtf_text import encapsulated_kind, html_from_rtf, text_from_rtf

# MS-OXRTFCP sections 4.1.1 and 4.1.2
EXAMPLE = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)


def test_the_example_of_the_specification() -> None:
    assert decompress_rtf(EXAMPLE) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert crc(EXAMPLE[16:]) == 0xA7C7C5F1


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=400), st.text("abc{}\\par ", max_size=3000).map(str.encode)))
def test_compression_is_undone(rtf: bytes) -> None:
    assert decompress_rtf(compress_rtf(rtf)) == rtf
    assert decompress_rtf(store_rtf(rtf)) == rtf


@settings(max_examples=150)
@given(st.binary(max_size=200))
def test_arbitrary_octets(octets: bytes) -> None:
    decompress_rtf(octets)
    decompress_rtf(EXAMPLE[:4] + b"\xff\xff\xff\x7f" + EXAMPLE[8:16] + octets)


def test_output_is_bounded() -> None:
    bomb = EXAMPLE[:4] + b"\xff\xff\xff\x7f" + EXAMPLE[8:16] + b"\xff" + b"\x00\x0f" * 8
    assert len(decompress_rtf(bomb, rtf_octets_max=50) or b"") <= 50


def test_html() -> None:
    rtf = (
        rb"{\rtf1\ansi\ansicpg1251\fromhtml1 \deff0{\fonttbl{\f0\fswiss Arial;}{\f1\fcharset204 Times;}}"
        rb"{\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 caf\u233 ?\htmlrtf }\htmlrtf0"
        rb"{\*\mhtmltag <hidden>}\f1 \'ff\par {\*\htmltag72 </p>}\{x\}\tab y}"
    )
    assert encapsulated_kind(rtf) == "html"
    assert html_from_rtf(rtf) == "<p>café\u044f\r\n</p>{x}\ty"
    assert html_from_rtf(rb"{\rtf1\ansi x}") is None


@pytest.mark.parametrize(
    ("rtf", "text"),
    [
        (rb"{\rtf1\ansi\fromtext{\fonttbl{\f0 Arial;}}one\par two\line three}", "one\r\ntwo\r\nthree"),
        (rb"{\rtf1\ansi\ansicpg1252 \'e9\u8364 ?\endash\~}", "é€\u2013\u00a0"),
        (rb"{\rtf1{\*\unknown hidden}{\pict 0102}shown}", "shown"),
        (rb"{\rtf1\uc2\u8364 xx!}", "€!"),
        (rb"{\rtf1\u-10179 ?\u-8704 ?}", "\U0001f600"),
    ],
)
def test_text(rtf: bytes, text: str) -> None:
    assert text_from_rtf(rtf) == text


@pytest.mark.parametrize("unit", [b"{", b"}", b"\\u233 ?", b"\\'e9", b"{\\*\\x ", b"\\f1 x", b"\\", b"{}"])
def test_hostile_rtf_takes_linear_time(unit: bytes, linear: Callable[[Callable[[int], object], int], None]) -> None:
    linear(lambda octets: text_from_rtf(rb"{\rtf1\fromhtml1 " + unit * (octets // len(unit))), 40_000)
    linear(lambda octets: html_from_rtf(rb"{\rtf1\fromhtml1 " + unit * (octets // len(unit))), 40_000)


@settings(max_examples=150)
@given(st.text("{}\\'uf123 abhtmltag*\n", max_size=120).map(str.encode))
def test_never_raises(rtf: bytes) -> None:
    html_from_rtf(rb"{\rtf1\fromhtml1 " + rtf)
    text_from_rtf(rtf)
