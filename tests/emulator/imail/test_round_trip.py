"""Properties of the corpus, regenerated: the original dropped, MIME generated from the properties, converted again.

What differs then is in `round_trip_residues.tsv`, one line each, with its cause by name. `python PATH-OF-THIS-FILE`
writes the table anew and prints the share of each property.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.imail import inbound, outbound
from emulator.imail.mime_writer import Allow
from emulator.properties import PropertyMessage
from emulator.property_tags import PR_MESSAGE_SIZE, PR_TRANSPORT_MESSAGE_HEADERS, key_name

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
TABLE = Path(__file__).with_name("round_trip_residues.tsv")
ALL = Allow.EIGHT_BIT_MIME | Allow.BINARY_MIME | Allow.UTF8
HEADERS = key_name(PR_TRANSPORT_MESSAGE_HEADERS)

CAUSES = {
    "+content-transfer-encoding": "an encoding that nobody declared (RFC 2045 section 6.1: 7bit is what that means)",
    "~content-transfer-encoding": "one that a multipart must not have (RFC 2045 section 6.4), or no final line end",
    "-content-length": "a count of octets of the old body",
    "~content-type": "a Content-Type that was not true of the content, or none (RFC 2045 section 5.1)",
    "+content-type": "a Content-Type where there was none",
    "-content-type": "a second Content-Type (RFC 5322 section 3.6: no field of MIME stands twice)",
    "+mime-version": "MIME-Version where it was missing (RFC 2045 section 4)",
    "~content-disposition": "parameters that RFC 2183 and RFC 2231 write otherwise",
    "+content-disposition": "a name that stood elsewhere (RFC 2183 section 2.3)",
    "~content-id": "an identifier without angle brackets (RFC 2045 section 7)",
    "-content-description": "a description of the multipart that is no more",
    "no field": "a line that is no field: From of mbox, or garbage (RFC 5322 section 2.2)",
    "~other": "a field with octets beyond ASCII where none may be, or with lines of blanks (RFC 2047, RFC 5322)",
    "blank line": "a header that ended without its blank line",
    "property": "a name or charset that was not declared as RFC 2231 wants it, and is now",
}
"""What a residue is called → why it is there. `+` added, `-` gone, `~` written otherwise."""


def corpus() -> list[Path]:
    if not CORPUS.is_dir():
        pytest.skip("needs ../shared/corpus")
    return sorted(CORPUS.glob("*/*.eml"))


def values(message: PropertyMessage, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name with its place, value) of all properties, those of rows and embedded messages too."""
    for key, value in message.properties.items():
        if key != PR_MESSAGE_SIZE:
            yield prefix + key_name(key), value
    for number, recipient in enumerate(message.recipients):
        for key, value in recipient.items():
            yield f"{prefix}recipient {number} {key_name(key)}", value
    for number, attachment in enumerate(message.attachments):
        for key, value in attachment.items():
            yield f"{prefix}attachment {number} {key_name(key)}", value
        if attachment.embedded is not None:
            yield from values(attachment.embedded, f"{prefix}embedded {number} ")


def _name(field: str) -> str:
    match = re.match(r"([!-9;-~]+)[ \t]*:", field)
    return "" if match is None else match[1]


def fields(text: str) -> Counter[tuple[str, str]]:
    """(name, whole field) of a header block."""
    found = re.findall(r"(?:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)", text + "\r\n")
    return Counter((_name(field).lower(), field.strip()) for field in found)


def causes(before: Any, after: Any) -> list[str]:
    """Names of the differences between two header blocks."""
    old, new = fields(before), fields(str(after or ""))
    gone, added = {name for name, _ in old - new}, {name for name, _ in new - old}
    found = {"no field" if not name else f"-{name}" for name in gone - added}
    found |= {f"+{name}" for name in added - gone if name} | {f"~{name}" for name in gone & added if name}
    return sorted({name if name in CAUSES else "~other" for name in found}) or ["blank line"]


def residues(path: Path, total: Counter[str], same: Counter[str]) -> Iterator[str]:
    """Lines of the table for one message."""
    message = inbound(path.read_bytes())
    before = list(values(message))
    message.forget_original()
    octets = outbound(message, allow=ALL)
    assert octets == outbound(message, allow=ALL), "generation is deterministic"
    after = dict(values(inbound(octets)))
    for place, value in before:
        name = re.sub(r"(embedded|recipient|attachment) [0-9]+ ", lambda match: match[1] + " ", place)
        total[name] += 1
        if after.get(place) == value:
            same[name] += 1
            continue
        named = causes(value, after.get(place)) if place.endswith(HEADERS) else ["property"]
        yield "\t".join([f"{path.parent.name}/{path.name}", place, ", ".join(named)])


def test_ninety_nine_in_a_hundred_survive_and_the_rest_is_named() -> None:
    total: Counter[str] = Counter()
    same: Counter[str] = Counter()
    found = [line for path in corpus() for line in residues(path, total, same)]
    assert sum(same.values()) / sum(total.values()) >= 0.99
    named = set(TABLE.read_text().splitlines())
    assert [line for line in found if line not in named] == [], "without a cause in the table"


def test_every_residue_has_a_cause() -> None:
    for line in TABLE.read_text().splitlines():
        if not line.startswith("#"):
            named = line.split("\t")[2].split(", ")
            assert named
            assert CAUSES.keys() >= set(named)


def main() -> None:
    """Write the table."""
    total: Counter[str] = Counter()
    same: Counter[str] = Counter()
    lines = [f"# {name}: {cause}" for name, cause in CAUSES.items()]
    lines += [line for path in corpus() for line in residues(path, total, same)]
    shares = [f"# {name}: {same[name]} of {total[name]}" for name in sorted(total) if same[name] != total[name]]
    whole = f"# {sum(same.values())} of {sum(total.values())} values are equal; all of every property but"
    count = len(CAUSES)
    TABLE.write_text("\n".join([whole, *shares, "#", *lines[:count], "#", *lines[count:], ""]))
    print(f"{sum(same.values()) / sum(total.values()):.3%}")
    for name in sorted(total):
        print(f"{same[name]:6} of {total[name]:6}  {name}")


if __name__ == "__main__":
    main()
