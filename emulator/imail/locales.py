"""Language tags and Windows locale identifiers (MS-LCID), from the table of the standard library."""

from __future__ import annotations

import locale

_TAGS = {number: name.replace("_", "-") for number, name in locale.windows_locale.items()}
_NEUTRAL: dict[int, str] = {}
for _number, _name in sorted(_TAGS.items()):
    # the first locale of a language names it: 0x0409 en-US is the first of 0x09
    _NEUTRAL.setdefault(_number & 0x3FF, _name.partition("-")[0])
_LCIDS = {name.lower(): number for number, name in sorted(_NEUTRAL.items(), reverse=True)}
_LCIDS |= {name.lower(): number for number, name in sorted(_TAGS.items(), reverse=True)}


def lcid(tag: str) -> int:
    """Locale identifier of a language tag (RFC 5646); 0 where it has none."""
    return _LCIDS.get(tag.strip().lower().replace("_", "-"), 0)


def tag(number: int) -> str:
    """Language tag of a locale identifier; "" where it has none."""
    return _TAGS.get(number) or (_NEUTRAL.get(number, "") if number < 0x400 else "")
