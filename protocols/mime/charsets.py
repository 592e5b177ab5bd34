"""Character sets by the names that mail gives them.

An unknown name never fails: the octets are read as what they look like.
"""

from __future__ import annotations

import codecs
import encodings
import encodings.aliases
import pkgutil
import re
from functools import lru_cache

_ALIASES = {
    "ansi_x3.110-1983": "latin-1",
    "ansi_x3.4-1968": "cp1252",
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "iso_8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8",
    "iso-8859-6-i": "iso8859_6",
    "iso-8859-6-e": "iso8859_6",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "ksc5601": "cp949",
    "ks_c_5601-1989": "cp949",
    "euc-kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "x-gbk": "gb18030",
    "cn-gb": "gb18030",
    "hz-gb-2312": "hz",
    "big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "ms_kanji": "cp932",
    "windows-31j": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "x-euc-jp": "euc_jp",
    "x-euc-tw": "big5hkscs",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "x-macroman": "mac_roman",
    "x-mac-ce": "mac_latin2",
    "x-mac-centraleurroman": "mac_latin2",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-greek": "mac_greek",
    "x-mac-icelandic": "mac_iceland",
    "x-mac-chinesesimp": "gb18030",
    "x-mac-chinesetrad": "big5hkscs",
    "dos-720": "cp720",
    "ibm00858": "cp858",
    "cp00858": "cp858",
    "ucs-2": "utf-16-be",
    "iso-10646-ucs-2": "utf-16-be",
    "x-mac-turkish": "mac_turkish",
    "x-unknown": "",
    "unknown-8bit": "",
    "unknown": "",
    "default": "",
    "binary": "latin-1",
    "8bit": "",
    "utf8mb4": "utf-8",
    "unicode-1-1-utf-7": "utf-7",
    "x-utf-8": "utf-8",
    "unicode": "utf-16",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "x-viet-tcvn": "",
    "ansi": "cp1252",
    "x-ansi": "cp1252",
    "x-user-defined": "cp1252",
}
NAME_CHARACTERS_MAX = 100
"""Of a charset; longer ones are unknown."""
_ISO_8859 = re.compile(r"(?:iso[-_]?)?8859[-_]?([0-9]{1,2})(?:[-_:].*)?\Z")
_CODE_PAGE = re.compile(r"(?:cp|windows|win|ibm|ms)[-_]?([0-9]{3,5})\Z")
_SHAPE = re.compile(r"[\w.:+-]{1,64}\Z", re.ASCII)
_UTF8_MARK = codecs.BOM_UTF8
# codecs that are no character sets, or whose cost is not linear in their input
_REFUSED = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
_KNOWN = frozenset(
    {*encodings.aliases.aliases, *encodings.aliases.aliases.values()}
    | {module.name for module in pkgutil.iter_modules(encodings.__path__)}
)
"""Codecs of the standard library, by normalised name."""
_UNDERSCORES = str.maketrans("-.:+", "____")
FOREIGN_NAMES_MAX = 500
"""Names unknown to the standard library that codecs of other packages are asked for in the life of a process.

`encodings` searches its folder for each unknown name and remembers it for ever: peers must not choose how many."""
_foreign: dict[str, str] = {}


def _lookup(name: str) -> str:
    """Name of the codec under exactly this name, or ""."""
    if name.translate(_UNDERSCORES) not in _KNOWN:
        known = _foreign.get(name)
        if known is None:
            known = _find(name) if len(_foreign) < FOREIGN_NAMES_MAX else ""
            if len(_foreign) < FOREIGN_NAMES_MAX:
                _foreign[name] = known
        return known
    return _find(name)


def _find(name: str) -> str:
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError, UnicodeError):
        return ""
    return info.name if getattr(info, "_is_text_encoding", True) and info.name not in _REFUSED else ""


def codec_name(charset: str) -> str:
    """Name of the Python codec for a MIME charset, or "" when there is none.

    US-ASCII and ISO-8859-1 are read as windows-1252, and the East Asian sets as their vendors' supersets, as the WHATWG
    Encoding standard does: for octets that the narrower set defines the result is the same.
    """
    return _codec_name(charset) if len(charset) <= NAME_CHARACTERS_MAX else ""


@lru_cache(maxsize=512)
def _codec_name(charset: str) -> str:
    name = charset.strip().strip("\"'").lower()
    if not _SHAPE.match(name):
        return ""
    if name in _ALIASES:
        return _ALIASES[name]
    found = _lookup(name)
    if found:
        return _ALIASES.get(found, found)
    if name.startswith("x-"):
        candidate = name[2:]
    elif "windows-" in name or "cp-" in name:
        candidate = name.replace("windows-", "cp").replace("cp-", "cp")
    else:
        candidate = ""
    found = _lookup(candidate) if candidate.translate(_UNDERSCORES) in _KNOWN else ""
    if found:
        return _ALIASES.get(found, found)
    match = _ISO_8859.match(name) if "8859" in name else None
    if match:
        found = _lookup(f"iso8859_{match[1]}")
        return _ALIASES.get(f"iso8859-{match[1]}", found) if found else ""
    match = _CODE_PAGE.search(name) if name[-1].isdigit() else None
    return _lookup(f"cp{match[1]}") if match and f"cp{match[1]}" in _KNOWN else ""


def is_known(charset: str) -> bool:
    """Whether the octets of this charset can be read by its name."""
    return codec_name(charset) != ""


def decode_text(octets: bytes, charset: str = "") -> str:
    """Text of `octets`; never fails. Without a usable charset: UTF-8 if it is that, else windows-1252.

    A declared charset that the octets contradict gives way to valid UTF-8, and else gets U+FFFD in the bad places.
    """
    if not charset:
        return _guess(octets)
    if charset[:11].lower() == "iso-2022-cn":
        return _iso_2022_cn(octets)
    codec = codec_name(charset)
    if codec in {"", "cp1252"}:
        # "US-ASCII" and "ISO-8859-1" are what mailers write when they do not know
        if octets.isascii():
            return octets.decode("ascii")
        if codec and charset.strip().lower() not in {"us-ascii", "ascii", "ansi_x3.4-1968"}:
            return _windows_1252(octets)
        return _guess(octets)
    try:
        return octets.decode(codec)
    except (UnicodeError, ValueError, LookupError):
        pass
    if codec != "utf-8":
        try:
            return octets.decode("utf-8")
        except UnicodeError:
            pass
    try:
        return octets.decode(codec, "replace")
    except (UnicodeError, ValueError, LookupError):
        return octets.decode("latin-1")


_SHIFTS = re.compile(rb"\x0e([\x21-\x7e\r\n]*)\x0f?")


def _iso_2022_cn(octets: bytes) -> str:
    """ISO-2022-CN (RFC 1922) as far as it is GB 2312: the same octets between other shifts are HZ (RFC 1843)."""
    plain = octets.replace(b"\x1b$)A", b"").replace(b"~", b"~~")
    return _SHIFTS.sub(rb"~{\1~}", plain).decode("hz", "replace")


def _guess(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return _windows_1252(octets)


_WINDOWS_1252 = "".join(bytes((octet,)).decode("cp1252", "replace") for octet in range(256))
# the five holes of windows-1252 are the C1 controls of ISO-8859-1
_WINDOWS_1252 = "".join(
    chr(octet) if character == "\ufffd" else character for octet, character in enumerate(_WINDOWS_1252)
)


def _windows_1252(octets: bytes) -> str:
    return codecs.charmap_decode(octets, "strict", _WINDOWS_1252)[0]
