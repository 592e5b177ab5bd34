"""text/enriched (RFC 1896) and text/richtext (RFC 1341 section 7.1.3) → HTML."""

from __future__ import annotations

import html
import re
from typing import Final

_TOKEN: Final = re.compile(
    r"<(/?)([A-Za-z0-9\-]{1,60})>|(?:[^<\r\n]++|\r?\n(?!\r?\n)|\r(?!\n)|<<|<(?!/?[A-Za-z0-9\-]{1,60}>))++|((?:\r?\n)++)"
)
"""A command, text with single line ends, or several line ends in a row."""
_TAGS: Final = {
    "bold": "b",
    "italic": "i",
    "underline": "u",
    "fixed": "tt",
    "smaller": "small",
    "bigger": "big",
    "excerpt": "blockquote",
    "center": "center",
    "subscript": "sub",
    "superscript": "sup",
    "paragraph": "p",
    "flushright": "div",
    "indent": "blockquote",
    "heading": "h1",
    "footing": "p",
}
_HIDDEN: Final = frozenset({"param", "comment", "no-op"})


def html_from_enriched(text: str, *, richtext: bool = False) -> str:
    """The text as HTML; unknown commands are passed over. Never raises; linear."""
    out: list[str] = []
    hidden = nofill = 0
    open_tags: list[str] = []
    for match in _TOKEN.finditer(text):
        lexeme = match[0]
        name = (match[2] or "").lower()
        if name:
            closing = match[1] == "/"
            if name in _HIDDEN:
                hidden = max(hidden + (-1 if closing else 1), 0)
            elif name == "nofill":
                nofill = max(nofill + (-1 if closing else 1), 0)
            elif richtext and name == "nl":
                out.append("<br>\r\n")
            elif richtext and name == "lt":
                out.append("&lt;")
            elif (tag := _TAGS.get(name)) is not None:
                if not closing:
                    open_tags.append(tag)
                    out.append(f"<{tag}>")
                elif open_tags and open_tags[-1] == tag:
                    open_tags.pop()
                    out.append(f"</{tag}>")
        elif hidden:
            continue
        elif match[3]:
            count = lexeme.count("\n")
            breaks = count if nofill else 0 if richtext else count - 1
            out.append("<br>\r\n" * breaks or "\r\n")
        else:
            shown = html.escape(lexeme.replace("<<", "<"), quote=False)
            if "\n" in shown:
                shown = shown.replace("\r\n", "\n").replace("\n", "<br>\r\n" if nofill else "\r\n")
            out.append(shown)
    out += [f"</{tag}>" for tag in reversed(open_tags)]
    return "".join(out)
