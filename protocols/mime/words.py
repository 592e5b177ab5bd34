"""Encoded words (RFC 2047, with the language of RFC 2231 section 5) in field bodies and display names."""

from __future__ import annotations

import binascii
import re
from itertools import islice

from .charsets import decode_text
from .transfer import decode_base64

_WORD = re.compile(rb"=\?([^?*\s]{1,75})(?:\*[^?\s]{0,75})?\?([bBqQ])\?([^?\n]*+(?:\?(?!=)[^?\n]*+){0,3})\?=")
"""Charset, encoding and text. Stray question marks in the text are allowed, few enough to stay linear."""

_PLAIN_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?: [A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*\Z")
_Q_SAFE = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!*+-/")
_Q_SINGLE = bytes(_Q_SAFE) + b" "
_Q_TEXT = [chr(octet) if octet in _Q_SAFE else "_" if octet == 32 else f"={octet:02X}" for octet in range(256)]

ENCODED_WORDS_MAX = 20_000
"""Of one field body; those behind them stay as they stand."""
ENCODED_WORD_OCTETS_MAX = 75
"""RFC 2047 section 2."""
LINE_OCTETS_MAX = 76
"""RFC 2047 section 2, for lines that hold an encoded word; RFC 5322 section 2.1.1 recommends 78 for the others."""
RUN_OCTETS_MAX = 900
"""Characters without a blank that may stand on one line as they are: the line stays below 998 octets."""


def decode_words(value: bytes | str) -> str:
    """Text of an unfolded field body. Never raises; an encoded word that cannot be read stays as it stands.

    White space between encoded words goes (RFC 2047 section 6.2). Words that follow one another in one charset and
    encoding are decoded together, since many mailers cut characters in two.
    """
    octets = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if b"=?" not in octets:
        return octets.decode("ascii") if octets.isascii() else decode_text(octets)
    only = _WORD.fullmatch(octets)
    if only is not None:
        charset, encoding, text = only.groups()
        return _text(_octets(encoding, text), charset)
    parts: list[str] = []
    run: list[bytes] = []
    run_charset = b""
    position = 0
    for match in islice(_WORD.finditer(octets), ENCODED_WORDS_MAX):
        charset, encoding, text = match.groups()
        charset = charset.lower()
        between = octets[position : match.start()]
        follows = position > 0 and not between.strip(b" \t\r\n")
        if run and not (follows and charset == run_charset):
            parts.append(_text(b"".join(run), run_charset))
            run = []
        if not follows:
            parts.append(decode_text(between))
        run.append(_octets(encoding, text))
        run_charset = charset
        position = match.end()
    if run:
        parts.append(_text(b"".join(run), run_charset))
    parts.append(decode_text(octets[position:]))
    return "".join(parts)


def _octets(encoding: bytes, text: bytes) -> bytes:
    return decode_base64(text) if encoding in b"bB" else _decode_q(text)


def _text(octets: bytes, charset: bytes) -> str:
    return decode_text(octets, charset.decode("ascii", "replace"))


def _decode_q(text: bytes) -> bytes:
    return binascii.a2b_qp(text.replace(b"_", b" "), header=False)


def encode_words(text: str, first_line_octets: int = 0) -> bytes:
    """A field body for `text`, folded with CRLF and a blank; decoding it gives `text` again.

    `first_line_octets` is what stands before it on its line. Plain ASCII stays; otherwise the stretch from the first
    word that needs it to the last becomes encoded words in UTF-8.
    """
    if _is_plain(text):
        return fold(text.encode("ascii"), first_line_octets)
    words = text.split(" ")
    needy = [index for index, word in enumerate(words) if not word or not _is_plain(word)]
    first = needy[0] if needy else 0
    last = needy[-1] + 1 if needy else len(words)
    # a blank beside an encoded word belongs to the word when there is nothing plain on its other side
    head = " ".join(words[:first])
    tail = " ".join(words[last:])
    pieces = encode_chunks(" ".join(words[first:last]))
    line = b" ".join(([head.encode("ascii")] if head else []) + pieces + ([tail.encode("ascii")] if tail else []))
    return fold(line, first_line_octets, LINE_OCTETS_MAX)


def _is_plain(text: str) -> bool:
    if not (text.isascii() and text.isprintable()) or "=?" in text or text != text.strip(" ") or "  " in text:
        return False
    return len(text) <= RUN_OCTETS_MAX or max(map(len, text.split(" "))) <= RUN_OCTETS_MAX


def encode_chunks(text: str) -> list[bytes]:
    """Encoded words of at most 75 octets (UTF-8; B or Q, whichever is shorter); no character is cut in two."""
    octets = text.encode("utf-8", "surrogatepass")
    q_length = len(octets) + 2 * len(octets.translate(None, _Q_SINGLE))
    use_q = q_length <= (len(octets) + 2) // 3 * 4
    room = ENCODED_WORD_OCTETS_MAX - len("=?utf-8?q??=")
    if use_q and 0 < q_length <= room:
        return [b"=?utf-8?q?" + "".join([_Q_TEXT[octet] for octet in octets]).encode("ascii") + b"?="]
    chunks: list[bytes] = []
    position = 0
    while position < len(octets):
        if use_q:
            end, used = position, 0
            while end < len(octets) and used + len(_Q_TEXT[octets[end]]) <= room:
                used += len(_Q_TEXT[octets[end]])
                end += 1
        else:
            end = min(position + room // 4 * 3, len(octets))
        while end < len(octets) and end > position + 1 and octets[end] & 0xC0 == 0x80:
            end -= 1
        chunk = octets[position:end]
        if use_q:
            chunks.append(b"=?utf-8?q?" + "".join([_Q_TEXT[octet] for octet in chunk]).encode("ascii") + b"?=")
        else:
            chunks.append(b"=?utf-8?b?" + binascii.b2a_base64(chunk, newline=False) + b"?=")
        position = end
    return chunks


def encode_phrase(text: str) -> bytes:
    """A display name: atoms, a quoted string or encoded words (RFC 5322 section 3.2.5), not folded."""
    if _PLAIN_PHRASE.match(text) and "=?" not in text:
        return text.encode("ascii")
    if text.isascii() and text.isprintable() and "=?" not in text and len(text) <= RUN_OCTETS_MAX:
        return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode("ascii") + b'"'
    return b" ".join(encode_chunks(text))


def fold(line: bytes, first_line_octets: int = 0, line_octets_max: int = 78) -> bytes:
    """Line ends put before blanks so that lines stay within `line_octets_max`, where blanks allow it.

    A line never consists of blanks alone, so unfolding gives the same octets.
    """
    if first_line_octets + len(line) <= line_octets_max:
        return line
    words = line.split(b" ")
    out = [words[0]]
    used = first_line_octets + len(words[0])
    for index, word in enumerate(words[1:], 1):
        if word and words[index - 1] and used + 1 + len(word) > line_octets_max:
            out.append(b"\r\n " + word)
            used = 1 + len(word)
        else:
            out.append(b" " + word)
            used += 1 + len(word)
    return b"".join(out)
