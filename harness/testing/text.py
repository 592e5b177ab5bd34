"""Text out of HTML, links and one-time codes: what tests look for in a message."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

_URL = re.compile(r"https?://[^\s<>\"'`\\^{|}]+", re.IGNORECASE)
_TRAILING = ".,;:!?*_~"
_CODE_WORDS = re.compile(
    r"(?:code|otp|pin|passcode|password|verif|token|kode|c[oó]digo|kennwort|bestätig|2fa|mfa|einmal"
    r"|sign[ -]in|log[ -]in)",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"(?<![\w.,/:#&=+%-])(?:[A-Z]-(?=\d))?"  # G-493817
    r"(?P<code>\d(?: \d){3,7}|\d{3}[ -]\d{3}|\d{4,8}|[A-Z0-9]{3,4}-[A-Z0-9]{3,4}|(?=\d*[A-Z])[A-Z0-9]{5,8})"
    r"(?![\w/%]|[.,:-]\d)"
)
_LETTER = re.compile("[A-Z]")
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "br", "center", "dd", "div", "dl", "dt", "fieldset", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre",
    "section", "table", "td", "th", "title", "tr", "ul",
})  # fmt: skip
_SILENT = frozenset({"script", "style", "head", "template", "noscript"})
_LINK_ATTRIBUTES = {"a": "href", "area": "href", "form": "action"}
_SENTENCE_END = re.compile(r"[.!?]\s")
NEAR_CHARACTERS = 80
"""How far from a word like `code` a one-time code may stand."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.links: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BLOCKS:
            self.pieces.append("\n")
        wanted = _LINK_ATTRIBUTES.get(tag)
        if wanted is not None:
            self.links.extend(value.strip() for name, value in attrs if name == wanted and value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _SILENT:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except (AssertionError, ValueError):  # a marked section that html.parser cannot follow: what was read so far counts
        pass
    return reader


def html_to_text(html: str) -> str:
    """The words of an HTML document, a line for each block. Never raises."""
    lines = ("".join(_read(html).pieces)).split("\n")
    words = [" ".join(line.split()) for line in lines]
    return "\n".join(line for line in words if line)


def links_in(html: str, text: str) -> list[str]:
    """Addresses that the message links to, each once: those of the HTML in order, then those that stand in the text."""
    found = [link for link in _read(html).links if not link.startswith("#")] if html else []
    for match in _URL.finditer(text):
        link = match[0].rstrip(_TRAILING)
        while link.endswith(")") and link.count(")") > link.count("("):
            link = link[:-1].rstrip(_TRAILING)
        found.append(unescape(link) if "&amp;" in link else link)
    return list(dict.fromkeys(found))


def _distance(between: str) -> int:
    """How far a word is from a code; another sentence is farther."""
    return len(between) + 60 * len(_SENTENCE_END.findall(between))


def one_time_codes(text: str) -> list[str]:
    """What may be a one-time code, the likeliest first: near a word like `code` or `PIN`, else alone on its line."""
    plain = _URL.sub(" ", text)
    ranked: list[tuple[int, int, str]] = []
    for match in _CODE.finditer(plain):
        code = match["code"]
        if not any(character.isdigit() for character in code):
            continue
        before = plain[max(0, match.start() - NEAR_CHARACTERS) : match.start()]
        after = plain[match.end() : match.end() + NEAR_CHARACTERS]
        distances = [_distance(before[word.end() :]) for word in _CODE_WORDS.finditer(before)]
        distances += [_distance(after[: word.start()]) + 20 for word in _CODE_WORDS.finditer(after)]
        distance = min(distances, default=1000)
        line_start = plain.rfind("\n", 0, match.start()) + 1
        line_end = plain.find("\n", match.end())
        line = plain[line_start : line_end if line_end >= 0 else len(plain)]
        if line.strip() == match[0]:
            distance -= 500
        if distance < 1000:
            ranked.append((distance, match.start(), code if _LETTER.search(code) else re.sub("[ -]", "", code)))
    ranked.sort()
    return list(dict.fromkeys(code for _, _, code in ranked))
