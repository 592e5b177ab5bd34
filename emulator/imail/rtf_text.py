"""Text and HTML out of RTF: de-encapsulation (MS-OXRTFEX section 2.1.3), plain text where nothing is encapsulated."""

from __future__ import annotations

import re
import struct
from binascii import unhexlify
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final

from .codepages import codec_of

_codec_of = lru_cache(maxsize=64)(codec_of)
_decode_few = lru_cache(maxsize=4096)(bytes.decode)
"""Single characters between those of another code page: to look for the codec costs more than to decode."""

_CHARSETS: Final = {
    0: 1252, 1: 0, 2: 42, 77: 10000, 128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254,
    163: 1258, 177: 1255, 178: 1256, 186: 1257, 204: 1251, 222: 874, 238: 1250, 254: 437, 255: 850,
}  # fmt: skip
"""Code pages of \\fcharset numbers."""
_CHARACTERS: Final = {
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
_ASCII: Final = dict.fromkeys((b"par", b"line", b"sect", b"page", b"row"), b"\r\n") | {b"cell": b"\t", b"tab": b"\t"}
"""Characters that are the same in every code page."""
_HIDDEN: Final = frozenset(
    b"mhtmltag fonttbl colortbl stylesheet info pict object header footer headerl headerr headerf footerl footerr "
    b"footerf pntext pntxta pntxtb themedata colorschememapping latentstyles datastore listtable listoverridetable "
    b"rsidtbl generator xmlnstbl mmathPr fldinst bkmkstart bkmkend filetbl revtbl".split()
)
OCTETS_PER_TOKEN_MIN: Final = 7
"""On average, words that say nothing of the text apart; what is denser is no document, and is read as far as the
allowance goes."""
TOKENS_FREE: Final = 10_000
_MEANT: Final = (
    frozenset(b"htmltag htmlrtf u uc ansicpg deff f fcharset plain bin".split())
    | frozenset(_ASCII)
    | frozenset(_CHARACTERS)
    | _HIDDEN
)
"""Words that are not passed over (any is meant behind \\*)."""


def _any_of(words: Iterable[bytes]) -> bytes:
    """A pattern of any of the words in full, as a tree: no letter is looked at more than once."""
    tree: dict[int, list[bytes]] = {}
    for word in sorted(words):
        tree.setdefault(word[0] if word else -1, []).append(word[1:])
    branches = [
        b"(?![a-zA-Z])" if letter < 0 else bytes([letter]) + _any_of(rest) for letter, rest in sorted(tree.items())
    ]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


_TOKEN: Final = re.compile(
    rb"(?:\\(?!" + _any_of(_MEANT) + rb")(?:[a-zA-Z]{1,32})(?:-?[0-9]{1,10})? ?)++"
    rb"|((?:\\u(-?[0-9]{1,10}) ?(?:\\'[0-9a-fA-F]{2}|\?))++)|\\([a-zA-Z]{1,32})(?:(-?[0-9]{1,10}))? ?"
    rb"|((?:\\'[0-9a-fA-F]{2})++)|\\((?s:.))|\{\\\*\\htmltag[0-9]{0,10} ?([^\\{}\r\n]*+)\}|(\{++|\}++)"
    rb"|([^\\{}\r\n]+)|[\r\n]+"
)
_CODES, _LAST_CODE, _WORD, _NUMBER, _HEX, _SYMBOL, _TAG, _BRACES, _PLAIN = range(1, 10)
_TEXTS: Final = frozenset({_HEX, _PLAIN})
_NUMBER_OF: Final = re.compile(rb"\\u(-?[0-9]++)")
_UNICODE: Final = re.compile(rb"\\u(-?[0-9]{1,10}) ?(?:\\'([0-9a-fA-F]{2})|(\?))")
DEPTH_MAX: Final = 1000
"""Groups inside one another; deeper ones are read in the state of this depth."""


_State = tuple[bool, bool, bool, int, int]
"""What a group keeps to itself: `_hidden`, `_tag`, `_suppressed`, `_skip` and `_font` of the reader."""


class _Reader:
    """One pass over the tokens; octets of one code page wait until they can be decoded together."""

    def __init__(self, rtf: bytes, *, html: bool) -> None:
        self._rtf = rtf
        self._html = html
        self._out: list[str] = []
        self._pending: list[bytes] = []
        self._pending_page = 0
        self._codec = ""
        self._default_page = 1252
        self._default_font = -1
        self._fonts: dict[int, int] = {}
        self._in_fonts = 0
        self._last_font = -1
        self._skip_octets = 0
        self._stack: list[_State] = []
        self._high = 0
        self._star = False
        self._too_deep = 0
        self._hidden = False
        """Inside a destination whose text is not shown."""
        self._tag = False
        """Inside \\*\\htmltag."""
        self._suppressed = False
        """Between \\htmlrtf and \\htmlrtf0."""
        self._skip = 1
        """Characters that stand for one \\u (\\uc)."""
        self._font = -1
        self._shown = True
        """What these come to."""
        self._page = 0
        """The code page; 0 before it was looked for."""

    def _find_page(self) -> int:
        font = self._font if self._font >= 0 else self._default_font
        self._page = (0 if self._tag else self._fonts.get(font, 0)) or self._default_page
        return self._page

    def _show(self) -> None:
        self._shown = not self._hidden and (self._tag or not self._suppressed)
        self._page = 0

    def _hide(self) -> None:
        self._hidden = True
        self._shown = False

    def read(self, tokens_max: int) -> str:
        pending = self._pending
        for match in islice(_TOKEN.finditer(self._rtf), tokens_max):
            kind = match.lastindex
            if kind is None:  # words that say nothing here, or a line end
                if self._star and self._rtf[match.start()] == 0x5C:
                    self._star = False
                    self._hide()
            elif kind in _TEXTS:
                if self._shown or self._skip_octets:
                    octets = match[kind]
                    if kind == _HEX:
                        octets = unhexlify(octets.translate(None, b"\\'"))
                    if self._page and self._page == self._pending_page and not self._skip_octets:
                        pending.append(octets)
                    else:
                        self._octets(octets)
            elif kind == _CODES:
                self._codes(match[_CODES], match[_LAST_CODE])
            elif kind <= _NUMBER:
                word = match[_WORD]
                if self._star:
                    self._star = False
                    self._destination(word)
                elif word == b"f":
                    if kind == _NUMBER:
                        self._font = self._last_font = int(match[_NUMBER])
                        self._page = 0
                else:
                    self._word(word, match[_NUMBER])
            elif kind == _BRACES:
                self._braces(match[_BRACES])
            elif kind == _TAG:
                self._skip_octets, self._star = 0, False
                if self._html and match[_TAG]:
                    self._add(match[_TAG], self._default_page)
            else:
                self._symbol(match[_SYMBOL])
        self._flush()
        return "".join(self._out).rstrip("\0")

    def _braces(self, braces: bytes) -> None:
        """A run of opening, or of closing, braces."""
        self._star = False
        self._skip_octets = 0
        count = len(braces)
        stack = self._stack
        if braces[0] == 0x7B:
            room = min(count, DEPTH_MAX - len(stack))
            self._too_deep += count - room
            stack += [(self._hidden, self._tag, self._suppressed, self._skip, self._font)] * room
            return
        if not stack:
            return
        above = min(count, self._too_deep)
        self._too_deep -= above
        left = max(len(stack) - (count - above), 0)
        if left < len(stack):
            self._hidden, self._tag, self._suppressed, self._skip, self._font = stack[left]
            del stack[left:]
            self._show()
        if len(stack) < self._in_fonts:
            self._in_fonts = 0

    def _octets(self, octets: bytes) -> None:
        if self._skip_octets:
            used = min(self._skip_octets, len(octets))
            self._skip_octets -= used
            octets = octets[used:]
        if octets and self._shown:
            self._add(octets, self._page or self._find_page())

    def _add(self, octets: bytes, page: int) -> None:
        if page != self._pending_page:
            self._flush()
            self._pending_page = page
            self._codec = _codec_of(page)
        self._pending.append(octets)

    def _flush(self) -> None:
        pending = self._pending
        if pending:
            octets = pending[0] if len(pending) == 1 else b"".join(pending)
            decode = _decode_few if len(octets) <= 4 else bytes.decode
            self._out.append(decode(octets, self._codec, "replace"))
            pending.clear()

    def _text(self, text: str) -> None:
        if self._shown:
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
        elif symbol in b"\r\n" and self._shown:
            self._add(b"\r\n", self._page or self._find_page())

    def _destination(self, word: bytes) -> None:
        """The word behind \\*: a destination that is passed over where it is not known."""
        if word == b"htmltag" and self._html:
            self._tag, self._hidden = True, False
            self._show()
        else:
            self._hide()

    def _word(self, word: bytes, parameter: bytes | None) -> None:
        octets = _ASCII.get(word)
        if octets is not None:
            if self._shown:
                self._add(octets, self._page or self._find_page())
            return
        number = int(parameter) if parameter else None
        if word == b"u":
            if number is not None:
                self._unicode(number)
        elif word == b"plain":
            self._font = -1
            self._page = 0
        elif word in _CHARACTERS:
            self._text(_CHARACTERS[word])
        elif word == b"htmlrtf":
            if self._html:
                self._suppressed = number != 0
                self._show()
        elif word == b"htmltag":
            self._destination(word)
        elif word in _HIDDEN:
            self._hide()
            if word == b"fonttbl":
                self._in_fonts = len(self._stack)
        elif number is not None:
            self._setting(word, number)

    def _setting(self, word: bytes, number: int) -> None:
        if word == b"uc":
            self._skip = min(max(number, 0), 16)
        elif word == b"ansicpg" and number:
            self._default_page = number
            self._page = 0
        elif word == b"deff":
            self._default_font = number
            self._page = 0
        elif word == b"fcharset" and self._in_fonts:
            self._fonts.setdefault(self._last_font, _CHARSETS.get(number, 0))
        elif word == b"bin" and number:
            # binary data is not looked for by length: what it holds is hidden with its group
            self._hide()

    def _codes(self, run: bytes, last: bytes) -> None:
        """Several \\u, each with one character in its place for those who do not know it."""
        if self._star:
            self._star = False
            self._hide()
        if self._skip != 1:
            for number, digits, mark in _UNICODE.findall(run):
                self._unicode(int(number))
                self._octets(unhexlify(digits) or mark)
            return
        self._skip_octets = 0
        if self._shown:
            unit = int(last) & 0xFFFF
            if run.count(b"\\u") == 1 and not self._high and not 0xD800 <= unit < 0xE000:
                self._text(chr(unit))
                return
            units = [int(number) & 0xFFFF for number in _NUMBER_OF.findall(run)]
            if self._high:
                units.insert(0, self._high)
            self._high = units.pop() if 0xD800 <= units[-1] < 0xDC00 else 0
            # a lone surrogate is nothing
            text = struct.pack(f"<{len(units)}H", *units).decode("utf-16-le", "ignore")
            if text:
                self._text(text)

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
        self._skip_octets = self._skip


def encapsulated_kind(rtf: bytes) -> str:
    """`html`, `text` or "" (MS-OXRTFEX section 2.1.3.1): the mark stands among the first control words."""
    head = rtf[:2000]
    if re.search(rb"\\fromhtml1?(?![a-z0-9])", head):
        return "html"
    return "text" if re.search(rb"\\fromtext(?![a-z])", head) else ""


def html_from_rtf(rtf: bytes, tokens_max: int | None = None) -> str | None:
    """The HTML that was wrapped into the RTF, or None where it holds none. Never raises; linear.

    `tokens_max`: control words, braces and texts that are read, where that is less than OCTETS_PER_TOKEN_MIN allows.
    """
    return _read(rtf, tokens_max, html=True) if encapsulated_kind(rtf) == "html" else None


def text_from_rtf(rtf: bytes, tokens_max: int | None = None) -> str:
    """The text of the RTF, de-encapsulated or as a reader would see it. `tokens_max` as for `html_from_rtf`."""
    return _read(rtf, tokens_max, html=False)


def _read(rtf: bytes, tokens_max: int | None, *, html: bool) -> str:
    allowance = TOKENS_FREE + len(rtf) // OCTETS_PER_TOKEN_MIN
    return _Reader(rtf, html=html).read(allowance if tokens_max is None else min(allowance, tokens_max))
