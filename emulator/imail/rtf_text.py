"""Text and HTML out of RTF: de-encapsulation (MS-OXRTFEX section 2.1.3), plain text where nothing is encapsulated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Final

from .codepages import codec_of

_TOKEN: Final = re.compile(
    rb"\\([a-zA-Z]{1,32})(?:(-?[0-9]{1,10}))? ?|((?:\\'[0-9a-fA-F]{2})++)|\\((?s:.))|(\{++|\}++)|[\r\n]+"
    rb"|([^\\{}\r\n]+)"
)
_WORD, _NUMBER, _HEX, _SYMBOL, _BRACES, _PLAIN = range(1, 7)
_CHARSETS: Final = {
    0: 1252, 1: 0, 2: 42, 77: 10000, 128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254,
    163: 1258, 177: 1255, 178: 1256, 186: 1257, 204: 1251, 222: 874, 238: 1250, 254: 437, 255: 850,
}  # fmt: skip
"""Code pages of \\fcharset numbers."""
_CHARACTERS: Final = {
    b"tab": "\t",
    b"lquote": "\u2018",
    b"rquote": "\u2019",
    b"ldblquote": "\u201c",
    b"rdblquote": "\u201d",
    b"bullet": "\u2022",
    b"endash": "\u2013",
    b"emdash": "\u2014",
    b"emspace": "\u2003",
    b"enspace": "\u2002",
}
_BREAKS: Final = frozenset({b"par", b"line", b"sect", b"page", b"row"})
_HIDDEN: Final = frozenset(
    b"fonttbl colortbl stylesheet info pict object header footer headerl headerr headerf footerl footerr footerf "
    b"pntext pntxta pntxtb themedata colorschememapping latentstyles datastore listtable listoverridetable rsidtbl "
    b"generator xmlnstbl mmathPr fldinst bkmkstart bkmkend filetbl revtbl".split()
)
OCTETS_PER_TOKEN_MIN: Final = 5
"""On average; what is denser than this is no document, and is read as far as the allowance goes."""
_MEANT: Final = (
    frozenset(b"htmltag mhtmltag htmlrtf u uc ansicpg deff fonttbl f fcharset plain bin cell".split())
    | _BREAKS
    | frozenset(_CHARACTERS)
    | _HIDDEN
)
"""Words that are not passed over (any is meant behind \\*)."""
DEPTH_MAX: Final = 1000
"""Groups inside one another; deeper ones are read in the state of this depth."""


@dataclass(slots=True)
class _State:
    hidden: bool = False
    """Inside a destination whose text is not shown."""
    tag: bool = False
    """Inside \\*\\htmltag."""
    suppressed: bool = False
    """Between \\htmlrtf and \\htmlrtf0."""
    skip: int = 1
    """Characters that stand for one \\u (\\uc)."""
    font: int = -1

    def copy(self) -> _State:
        return _State(self.hidden, self.tag, self.suppressed, self.skip, self.font)


class _Reader:
    """One pass over the tokens; octets wait until their code page is known to change."""

    def __init__(self, rtf: bytes, *, html: bool) -> None:
        self._rtf = rtf
        self._html = html
        self._out: list[str] = []
        self._pending = bytearray()
        self._default_page = 1252
        self._default_font = -1
        self._fonts: dict[int, int] = {}
        self._in_fonts = 0
        self._font = -1
        self._skip_octets = 0
        self._state = _State()
        self._stack: list[_State] = []
        self._high = 0
        self._star = False
        self._too_deep = 0
        self._shared = False
        """Whether the state is that of groups around this one too, and has to be copied before it is changed."""

    def read(self) -> str:
        allowance = 10_000 + len(self._rtf) // OCTETS_PER_TOKEN_MIN
        for match in islice(_TOKEN.finditer(self._rtf), allowance):
            kind = match.lastindex
            if kind is None:  # a line end
                continue
            if kind <= _NUMBER:
                if (word := match[1]) in _MEANT or self._star:
                    self._word(word, match[2])
            elif kind == _PLAIN:
                self._octets(match[6])
            elif kind == _HEX:
                self._octets(bytes.fromhex(match[3].translate(None, b"\\'").decode("ascii")))
            elif kind == _BRACES:
                self._braces(match[5])
            else:
                self._symbol(match[4])
        self._flush()
        return "".join(self._out).rstrip("\0")

    def _braces(self, braces: bytes) -> None:
        """A run of opening, or of closing, braces."""
        if self._pending:
            self._flush()
        self._star = False
        self._skip_octets = 0
        count = len(braces)
        if braces[0] == 0x7B:
            room = min(count, DEPTH_MAX - len(self._stack))
            self._too_deep += count - room
            self._stack += [self._state] * room
            self._shared = True
            return
        above = min(count, self._too_deep)
        self._too_deep -= above
        left = max(len(self._stack) - (count - above), 0)
        if left < len(self._stack):
            self._state = self._stack[left]
            self._shared = True
            del self._stack[left:]
        if len(self._stack) < self._in_fonts:
            self._in_fonts = 0

    def _shown(self) -> bool:
        state = self._state
        if state.hidden:
            return False
        return state.tag or not state.suppressed

    def _octets(self, octets: bytes) -> None:
        if self._skip_octets:
            used = min(self._skip_octets, len(octets))
            self._skip_octets -= used
            octets = octets[used:]
        if octets and self._shown():
            self._pending += octets

    def _flush(self) -> None:
        if self._pending:
            self._out.append(bytes(self._pending).decode(codec_of(self._current_page()), "replace"))
            self._pending.clear()

    def _current_page(self) -> int:
        font = self._state.font if self._state.font >= 0 else self._default_font
        if self._state.tag:
            return self._default_page
        return self._fonts.get(font, 0) or self._default_page

    def _text(self, text: str) -> None:
        if self._shown():
            if self._pending:
                self._flush()
            self._out.append(text)

    def _symbol(self, symbol: bytes) -> None:
        self._star = symbol == b"*"
        if symbol in b"\\{}":
            self._octets(symbol)
        elif symbol == b"~":
            self._text("\u00a0")
        elif symbol == b"_":
            self._text("\u00ad")
        elif symbol in b"\r\n":
            self._text("\r\n")

    def _own_state(self) -> _State:
        """The state of this group alone."""
        if self._shared:
            self._state = self._state.copy()
            self._shared = False
        return self._state

    def _word(self, word: bytes, parameter: bytes | None) -> None:
        state = self._own_state()
        number = int(parameter) if parameter else None
        star, self._star = self._star, False
        if word == b"htmltag":
            state.tag, state.hidden = self._html, not self._html
        elif word == b"mhtmltag":
            state.hidden = True
        elif word == b"htmlrtf":
            self._flush()
            if self._html:
                state.suppressed = number != 0
        elif word == b"u" and number is not None:
            self._unicode(number)
        elif word == b"uc" and number is not None:
            state.skip = min(max(number, 0), 16)
        elif word == b"ansicpg" and number:
            self._default_page = number
        elif word == b"deff" and number is not None:
            self._default_font = number
        elif word == b"fonttbl":
            state.hidden = True
            self._in_fonts = len(self._stack)
        elif word == b"f" and number is not None:
            self._flush()
            state.font = self._font = number
        elif word == b"fcharset" and number is not None and self._in_fonts:
            self._fonts.setdefault(self._font, _CHARSETS.get(number, 0))
        elif word == b"plain":
            self._flush()
            state.font = -1
        elif word == b"bin" and number:
            # binary data is not looked for by length: what it holds is hidden with its group
            state.hidden = True
        elif word in _BREAKS:
            self._text("\r\n")
        elif word == b"cell":
            self._text("\t")
        elif word in _CHARACTERS:
            self._text(_CHARACTERS[word])
        elif star or word in _HIDDEN:
            self._flush()
            state.hidden = True

    def _unicode(self, number: int) -> None:
        code = number & 0xFFFF
        if 0xD800 <= code < 0xDC00:
            self._high = code
        elif 0xDC00 <= code < 0xE000:
            if self._high:
                self._text(chr(0x10000 + ((self._high - 0xD800) << 10) + code - 0xDC00))
            self._high = 0
        else:
            self._text(chr(code))
        self._skip_octets = self._state.skip


def encapsulated_kind(rtf: bytes) -> str:
    """`html`, `text` or "" (MS-OXRTFEX section 2.1.3.1): the mark stands among the first control words."""
    head = rtf[:2000]
    if re.search(rb"\\fromhtml1?(?![a-z0-9])", head):
        return "html"
    return "text" if re.search(rb"\\fromtext(?![a-z])", head) else ""


def html_from_rtf(rtf: bytes) -> str | None:
    """The HTML that was wrapped into the RTF, or None where it holds none. Never raises; linear."""
    return _Reader(rtf, html=True).read() if encapsulated_kind(rtf) == "html" else None


def text_from_rtf(rtf: bytes) -> str:
    """The text of the RTF, de-encapsulated or as a reader would see it. Never raises; linear."""
    return _Reader(rtf, html=False).read()
