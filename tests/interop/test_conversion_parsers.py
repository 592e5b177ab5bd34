"""Conversion beside independent parsers: what IMAIL finds in the corpus, and what others read in what it writes."""

from __future__ import annotations

import email
import email.policy
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from emulator.imail import inbound, outbound
from emulator.imail.body import body_text
from emulator.imail.msg import message_to_msg
from emulator.properties import MAPI_TO
from emulator.property_tags import PR_BODY, PR_HTML, PR_INTERNET_CPID, PR_SUBJECT

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"


def corpus() -> list[Path]:
    if not CORPUS.is_dir():
        pytest.skip("needs ../shared/corpus")
    return sorted(CORPUS.glob("*/*.eml"))


def module(name: str, package: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        pytest.skip(f"{name} is not here: pip install {package}")


def words(text: Any) -> str:
    return " ".join(str(text or "").split())


def ours(octets: bytes) -> dict[str, Any]:
    message = inbound(octets)
    html = message.get(PR_HTML)
    return {
        "subject": words(message.get(PR_SUBJECT)),
        "to": [row.email for row in message.recipients if row.type == MAPI_TO],
        "text": words(message.get(PR_BODY)),
        "html": words(body_text(html, message.get(PR_INTERNET_CPID)) if html else ""),
    }


def stdlib(octets: bytes) -> dict[str, Any]:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    return {
        "subject": words(message["subject"]),
        "to": [address.addr_spec for field in message.get_all("to") or [] for address in field.addresses],
        "text": words(plain.get_content() if plain is not None else ""),
        "html": words(html.get_content() if html is not None else ""),
    }


def mail_parser(octets: bytes) -> dict[str, Any]:
    message = module("mailparser", "mail-parser").parse_from_bytes(octets)
    return {
        "subject": words(message.subject),
        "to": [address for _, address in message.to],
        "text": words(" ".join(message.text_plain)),
        "html": words(" ".join(message.text_html)),
    }


def test_where_two_other_parsers_agree_so_do_we() -> None:
    """Subject, To, text and HTML; the rest is theirs: missing blank lines, enriched text, winmail.dat, uuencode."""
    agreed: Counter[str] = Counter()
    same: Counter[str] = Counter()
    for path in corpus():
        octets = path.read_bytes()
        try:
            one, other = stdlib(octets), mail_parser(octets)
        except pytest.skip.Exception:
            raise
        except Exception:  # they raise on some of these messages; we may not
            ours(octets)
            continue
        mine = ours(octets)
        for name, value in mine.items():
            if one[name] == other[name]:
                agreed[name] += 1
                same[name] += value == one[name]
    for name, total in agreed.items():
        assert same[name] / total > (0.92 if name == "text" else 0.96), (name, same[name], total)


def test_generated_messages_are_read_by_mail_parser() -> None:
    parser = module("mailparser", "mail-parser")
    for path in corpus()[::5]:
        message = inbound(path.read_bytes())
        subject = words(message.get(PR_SUBJECT))
        message.forget_original()
        read = parser.parse_from_bytes(outbound(message))
        # it drops blanks beside encoded words
        assert words(read.subject).replace(" ", "") == subject.replace(" ", "")


def test_msg_files_are_read_by_python_oxmsg() -> None:
    oxmsg = module("oxmsg", "python-oxmsg")
    for path in corpus()[::9]:
        message = inbound(path.read_bytes())
        read = oxmsg.Message.load(io.BytesIO(message_to_msg(message)))
        assert (read.subject or "") == (message.get(PR_SUBJECT) or "")
        assert len(read.recipients) == len(message.recipients)
        assert len(read.attachments) == len(message.attachments)
        assert (read.body or "") == (message.get(PR_BODY) or "")
