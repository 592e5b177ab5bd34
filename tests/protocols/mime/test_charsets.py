"""protocols/mime/charsets.py"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mime import charsets
from protocols.mime.charsets import codec_name, decode_text, is_known


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        (b"abc", "us-ascii", "abc"),
        (b"\xe9\x80", "iso-8859-1", "é€"),
        (b"\x81\x9d", "windows-1252", "\x81\x9d"),
        ("é".encode(), "us-ascii", "é"),
        ("é".encode(), "iso-8859-1", "Ã©"),
        ("é".encode(), "x-nonsense", "é"),
        ("é".encode(), "", "é"),
        (b"\xe9", "utf-8", "\ufffd"),
        ("é".encode("utf-16"), "unicode", "é"),
        ("汉字".encode("gbk"), "gb2312", "汉字"),
        ("한글".encode("cp949"), "ks_c_5601-1987", "한글"),
        ("①".encode("cp932"), "Shift_JIS", "①"),
        ("日本".encode("iso2022_jp"), "ISO-2022-JP", "日本"),
        ("日本".encode(), "ISO-2022-JP", "日本"),
        ("я".encode("koi8-r"), '"KOI8-R"', "я"),
        ("ş".encode("iso8859-9"), "iso8859-9", "ş"),
        ("ż".encode("cp1250"), "windows-1250", "ż"),
    ],
)
def test_decode(octets: bytes, charset: str, text: str) -> None:
    assert decode_text(octets, charset) == text


@pytest.mark.parametrize(
    "name", ["hex", "base64", "rot13", "zlib", "idna", "punycode", "x" * 1000, "../../etc", "", " "]
)
def test_what_is_no_charset(name: str) -> None:
    assert codec_name(name) == ""
    assert not is_known(name)
    assert decode_text(b"abc", name) == "abc"


@settings(max_examples=200)
@given(
    st.binary(max_size=60),
    st.one_of(
        st.text(max_size=12), st.sampled_from(["utf-7", "utf-16", "hz", "big5", "iso-2022-kr", "cp65001", "utf-32"])
    ),
)
def test_never_raises(octets: bytes, charset: str) -> None:
    decode_text(octets, charset)


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("iso-2022-cn", b"\x1b$)A\x0eVPND\x0f ~ab", "中文 ~ab"),
        ("ISO-2022-CN-EXT", b"a\x1b$)A\x0eVP\x0f\r\nb\x0e", "a中\r\nb"),
        ("ucs-2", "ü".encode("utf-16-be"), "ü"),
        ("dos-720", "س".encode("cp720"), "س"),
        ("ibm00858", "€".encode("cp858"), "€"),
        ("x-mac-icelandic", "ð".encode("mac_iceland"), "ð"),
        ("x-mac-chinesesimp", "中文".encode("gb2312"), "中文"),
        ("ISO_8859-2:1987", b"\xb3", "ł"),
        ("cp-1251", "П".encode("cp1251"), "П"),
    ],
)
def test_rare_names(charset: str, octets: bytes, text: str) -> None:
    assert decode_text(octets, charset) == text


def test_unknown_names_are_not_remembered_without_end() -> None:
    for number in range(3 * charsets.FOREIGN_NAMES_MAX):
        assert charsets.codec_name(f"x-never-heard-{number}") == ""
    assert len(charsets._foreign) <= charsets.FOREIGN_NAMES_MAX
    assert charsets.codec_name("utf-8" + "x" * 1_000_000) == ""
    assert charsets.codec_name("koi8-r") == "koi8-r"
