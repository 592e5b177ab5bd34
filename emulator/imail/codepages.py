"""Windows code page identifiers and MIME charsets (PR_INTERNET_CPID; MS-UCODEREF section 2.2.1)."""

from __future__ import annotations

from functools import lru_cache

from protocols.mime.charsets import NAME_CHARACTERS_MAX, codec_name, decode_text

UTF_8 = 65001
US_ASCII = 20127
ISO_8859_1 = 28591
WINDOWS_1252 = 1252

_CHARSETS = {
    437: "ibm437",
    850: "ibm850",
    852: "ibm852",
    855: "ibm855",
    857: "ibm857",
    858: "cp858",
    860: "ibm860",
    861: "ibm861",
    862: "ibm862",
    863: "ibm863",
    864: "ibm864",
    865: "ibm865",
    866: "ibm866",
    869: "ibm869",
    874: "windows-874",
    932: "shift_jis",
    936: "gb2312",
    949: "ks_c_5601-1987",
    950: "big5",
    1200: "utf-16le",
    1201: "utf-16be",
    1250: "windows-1250",
    1251: "windows-1251",
    1252: "windows-1252",
    1253: "windows-1253",
    1254: "windows-1254",
    1255: "windows-1255",
    1256: "windows-1256",
    1257: "windows-1257",
    1258: "windows-1258",
    1361: "johab",
    10000: "macintosh",
    10006: "x-mac-greek",
    10007: "x-mac-cyrillic",
    10029: "x-mac-ce",
    10081: "x-mac-turkish",
    12000: "utf-32le",
    12001: "utf-32be",
    20127: "us-ascii",
    20866: "koi8-r",
    20932: "euc-jp",
    21866: "koi8-u",
    28591: "iso-8859-1",
    28592: "iso-8859-2",
    28593: "iso-8859-3",
    28594: "iso-8859-4",
    28595: "iso-8859-5",
    28596: "iso-8859-6",
    28597: "iso-8859-7",
    28598: "iso-8859-8",
    28599: "iso-8859-9",
    28600: "iso-8859-10",
    28603: "iso-8859-13",
    28604: "iso-8859-14",
    28605: "iso-8859-15",
    28606: "iso-8859-16",
    38598: "iso-8859-8-i",
    50220: "iso-2022-jp",
    50221: "csiso2022jp",
    50225: "iso-2022-kr",
    51932: "euc-jp",
    51936: "euc-cn",
    51949: "euc-kr",
    52936: "hz-gb-2312",
    54936: "gb18030",
    65000: "utf-7",
    65001: "utf-8",
}
_PREFERRED = {"euc-jp": 51932}
_CODE_PAGES = {charset: page for page, charset in reversed(_CHARSETS.items())} | _PREFERRED
_CODE_PAGES |= {
    "ascii": 20127,
    "utf8": 65001,
    "utf-16": 1200,
    "gbk": 936,
    "latin1": 28591,
    "iso8859-1": 28591,
    "iso_8859-1": 28591,
    "sjis": 932,
    "x-sjis": 932,
    "cp932": 932,
    "windows-31j": 932,
    "cp949": 949,
    "tis-620": 874,
}


def code_page(charset: str) -> int:
    """Code page of a MIME charset; UTF-8's where there is none (its octets are then converted)."""
    return _code_page(charset) if len(charset) <= NAME_CHARACTERS_MAX else UTF_8


@lru_cache(maxsize=512)
def _code_page(charset: str) -> int:
    name = charset.strip().strip("\"'").lower()
    page = _CODE_PAGES.get(name)
    if page is not None:
        return page
    codec = codec_name(name)
    for candidate, known in _CODE_PAGES.items():
        if codec and codec_name(candidate) == codec:
            return known
    return UTF_8


def has_code_page(charset: str) -> bool:
    """Whether octets in this charset can stay as they are, with the code page beside them."""
    name = charset.strip().strip("\"'").lower()
    return name in _CODE_PAGES or (codec_name(name) != "" and code_page(name) != UTF_8)


def charset_of(page: int) -> str:
    """MIME charset of a code page, `utf-8` for an unknown one."""
    return _CHARSETS.get(page, "utf-8")


def codec_of(page: int) -> str:
    """Python codec of a code page."""
    return codec_name(charset_of(page)) or "utf-8"


def encode_text(text: str, page: int) -> tuple[str, bytes]:
    """(MIME charset, octets) of a text: in the code page where it can hold the text, in UTF-8 otherwise."""
    charset = charset_of(page)
    if charset != "utf-8":
        for codec in (charset, codec_of(page)):
            try:
                octets = text.encode(codec)
            except (UnicodeError, LookupError):
                continue
            if decode_text(octets, charset) == text:
                return charset, octets
    return "utf-8", text.encode("utf-8", "replace")
