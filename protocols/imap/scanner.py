"""The arguments of a command: atoms, strings, lists, numbers out of text and literals (RFC 9051 section 9)."""

from __future__ import annotations

import re

from .cutter import Piece
from .errors import Bad
from .sequence import NUMBER_MAX, Ranges, parse_set

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_LIST_MAILBOX = re.compile(rb"[^\x00-\x20\x7f-\xff(){\"\\]+")
_FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\]+|\\\*")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_NUMBER = re.compile(rb"[0-9]{1,20}")
_SEQUENCE = re.compile(rb"[0-9*:,]+|\$")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


class Scanner:
    """Reads arguments from left to right. All methods raise Bad where something else stands."""

    __slots__ = ("_index", "_pieces", "_position", "_text", "depth_max", "utf8")

    def __init__(self, pieces: tuple[Piece, ...], *, utf8: bool = False, depth_max: int = 32) -> None:
        self._pieces = pieces
        self._index = 0
        self._position = 0
        self._text: bytes = b""
        self.utf8 = utf8
        self.depth_max = depth_max
        self._load()

    def _load(self) -> None:
        piece = self._pieces[self._index] if self._index < len(self._pieces) else b""
        self._text = piece if isinstance(piece, bytes) else b""
        self._position = 0

    @property
    def single(self) -> bytes | None:
        """All arguments as one piece of text, where there is no literal among them."""
        if not self._pieces:
            return b""
        first = self._pieces[0]
        return first if len(self._pieces) == 1 and isinstance(first, bytes) else None

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._position >= len(self._text) and self._index + 1 >= len(self._pieces) and not self._at_literal

    @property
    def _at_literal(self) -> bool:
        if self._index < len(self._pieces) and isinstance(self._pieces[self._index], tuple):
            return True
        return (
            self._position >= len(self._text)
            and self._index + 1 < len(self._pieces)
            and isinstance(self._pieces[self._index + 1], tuple)
        )

    def _take_literal(self) -> bytes:
        if isinstance(self._pieces[self._index], bytes):
            self._index += 1
        piece = self._pieces[self._index]
        assert isinstance(piece, tuple)
        self._index += 1
        self._load()
        return piece[0]

    def mark(self) -> tuple[int, int, bytes]:
        """Where the scanner stands, for `reset`."""
        return self._index, self._position, self._text

    def reset(self, mark: tuple[int, int, bytes]) -> None:
        """Go back to where `mark` was taken."""
        self._index, self._position, self._text = mark

    def end(self) -> None:
        """Nothing more may stand here; white space at the end of the line is forgiven."""
        if (
            not self._at_literal
            and not self._text[self._position :].strip(b" ")
            and self._index + 1 >= len(self._pieces)
        ):
            return
        raise Bad("there is more than the command takes")

    def peek(self) -> int:
        """The next octet, or -1 at the end or before a literal."""
        return self._text[self._position] if self._position < len(self._text) else -1

    def space(self) -> None:
        """One space (several are forgiven)."""
        if self.peek() != 0x20:
            raise Bad("a space is missing" if not self.at_end else "an argument is missing")
        while self.peek() == 0x20:
            self._position += 1

    def try_space(self) -> bool:
        """Take white space if there is some and something follows it."""
        start = self._position
        while self.peek() == 0x20:
            self._position += 1
        if self._position > start and self.at_end:
            self._position = start
            return False
        return self._position > start

    def skip_spaces(self) -> None:
        """Forgive white space where the grammar has none."""
        while self.peek() == 0x20:
            self._position += 1

    def try_take(self, text: bytes) -> bool:
        """Take these octets if they are next."""
        if self._text.startswith(text, self._position):
            self._position += len(text)
            return True
        return False

    def looks_like(self, *texts: bytes) -> bool:
        """Whether one of the texts, in any case, is next."""
        longest = max(map(len, texts))
        ahead = self._text[self._position : self._position + longest].upper()
        return any(ahead.startswith(text) for text in texts)

    def take(self, text: bytes) -> None:
        """These octets have to be next."""
        if not self.try_take(text):
            raise Bad(f"{text.decode('ascii')} is missing")

    def _match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise Bad(f"{what} is missing")
        self._position = match.end()
        return match[0]

    def try_match(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """Take what matches the pattern, if it does."""
        match = pattern.match(self._text, self._position)
        if match is None:
            return None
        self._position = match.end()
        return match[0]

    def atom(self) -> bytes:
        """An atom."""
        return self._match(_ATOM, "an atom")

    def word(self) -> bytes:
        """An atom in capitals: a keyword of the grammar."""
        return self._match(_ATOM, "a word").upper()

    def try_word(self, word: bytes) -> bool:
        """Take the keyword if it is next."""
        match = _ATOM.match(self._text, self._position)
        if match is None or match[0].upper() != word:
            return False
        self._position = match.end()
        return True

    def number(self, most: int = NUMBER_MAX) -> int:
        """A number up to `most`."""
        value = int(self._match(_NUMBER, "a number"))
        if value > most:
            raise Bad("a number is too large")
        return value

    def sequence(self) -> Ranges | None:
        """A sequence set; None for `$`, the saved result (RFC 5182)."""
        text = self._match(_SEQUENCE, "a sequence set")
        return None if text == b"$" else parse_set(text)

    def flag(self) -> str:
        """A flag as written."""
        return self._match(_FLAG, "a flag").decode("ascii")

    def flag_list(self) -> list[str]:
        """Flags in parentheses."""
        self.take(b"(")
        flags: list[str] = []
        self.skip_spaces()
        while not self.try_take(b")"):
            if flags:
                self.space()
                if self.try_take(b")"):
                    break
            flags.append(self.flag())
        return flags

    def _quoted(self) -> bytes:
        match = _QUOTED.match(self._text, self._position)
        if match is None:
            raise Bad("a quoted string has no end")
        text = match[1]
        if not text.isascii():
            try:
                text.decode("utf-8")
            except UnicodeDecodeError:
                raise Bad("a quoted string is not UTF-8") from None
        self._position = match.end()
        return _ESCAPE.sub(rb"\1", text) if b"\\" in text else text

    def string(self) -> bytes:
        """A quoted string or a literal."""
        if self._at_literal:
            octets = self._take_literal()
            if b"\0" in octets:
                raise Bad("a literal has a NUL")
            return octets
        if self.peek() == 0x22:
            return self._quoted()
        raise Bad("a string is missing")

    def astring(self) -> bytes:
        """An atom (`]` included) or a string."""
        if self.peek() == 0x22 or self._at_literal:
            return self.string()
        return self._match(_ASTRING, "a string or atom")

    def nstring(self) -> bytes | None:
        """A string or NIL."""
        if self.peek() != 0x22 and not self._at_literal:
            if self.word() != b"NIL":
                raise Bad("a string or NIL is missing")
            return None
        return self.string()

    def list_mailbox(self) -> bytes:
        """A LIST pattern."""
        if self.peek() == 0x22 or self._at_literal:
            return self.string()
        return self._match(_LIST_MAILBOX, "a mailbox pattern")

    def literal(self) -> tuple[bytes, bool]:
        """A literal, and whether it is `~{…}` (RFC 3516).

        Only a literal8 may hold NUL (RFC 3501 section 4.3); a message with NUL in a plain literal is taken all the
        same, as Dovecot and Cyrus do, since clients copy real mail without looking into it: `quirk_nul_in_message`.
        """
        binary = self.peek() == 0x7E
        if binary:
            self._position += 1
        if not self._at_literal:
            raise Bad("a literal is missing")
        return self._take_literal(), binary

    def literal8_or_nstring(self) -> bytes | None:
        """A value of METADATA (RFC 5464 section 5): NIL, a string, or a literal8."""
        if self.peek() == 0x7E:
            return self.literal()[0]
        return self.nstring()

    def until(self, stop: bytes) -> bytes:
        """The octets up to `stop`, which is not taken; all that is left where it does not occur."""
        end = self._text.find(stop, self._position)
        end = len(self._text) if end < 0 else end
        taken = self._text[self._position : end]
        self._position = end
        return taken

    def rest(self) -> bytes:
        """The text that is left of this piece."""
        taken = self._text[self._position :]
        self._position = len(self._text)
        return taken
