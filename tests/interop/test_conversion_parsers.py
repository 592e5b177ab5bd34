"""Conversion beside independent parsers: what IMAIL finds in the corpus, and what others read in what it writes.

Compared are subject, To addresses, text, HTML, and attachments (name, size, SHA-256), with Python's email
(policy.default), mail-parser (PyPI), postal-mime and mailparser (npm). Where two or more of these agree, IMAIL reads
the same as one such pair, or the difference is in `conversion_parsers_differences.tsv` with who is right and why.
"""

from __future__ import annotations

import base64
import binascii
import email
import email.policy
import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from emulator.imail import inbound, outbound
from emulator.imail.body import body_text
from emulator.imail.msg import message_to_msg
from emulator.properties import MAPI_TO
from emulator.property_tags import PR_BODY, PR_HTML, PR_INTERNET_CPID, PR_SUBJECT

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
TABLE = Path(__file__).with_name("conversion_parsers_differences.tsv")
ITEMS = ("subject", "to", "text", "html", "attachments")
Answer = dict[str, Any]


def corpus() -> list[Path]:
    if not CORPUS.is_dir():
        pytest.skip("needs ../shared/corpus")
    return sorted(CORPUS.glob("*/*.eml"))


def module(name: str, package: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        pytest.skip(f"{name} is not here: pip install {package}")


def node_modules() -> str:
    """Folder of the packages of .ci/node."""
    found = os.environ.get("MAILJAM_NODE_MODULES", str(Path(__file__).parents[2] / ".ci" / "node" / "node_modules"))
    if shutil.which("node") is None or not all((Path(found) / name).is_dir() for name in ("mailparser", "postal-mime")):
        pytest.skip("mailparser and postal-mime are not here: npm ci --prefix .ci/node")
    return found


def words(text: Any) -> str:
    return " ".join(str(text or "").replace("\0", "").split())


def attachment(name: str | None, content: bytes) -> tuple[str, int, str]:
    return (words(name), len(content), hashlib.sha256(content).hexdigest())


def ours(octets: bytes) -> Answer:
    message = inbound(octets)
    html = message.get(PR_HTML)
    rows = []
    for row in message.attachments:
        data = row.embedded.octets if row.embedded is not None else row.data
        rows.append(attachment(row.name, data))
    return {
        "subject": words(message.get(PR_SUBJECT)),
        "to": [row.email for row in message.recipients if row.type == MAPI_TO],
        "text": words(message.get(PR_BODY)),
        "html": words(body_text(html, message.get(PR_INTERNET_CPID)) if html else ""),
        "attachments": sorted(rows),
    }


def stdlib(octets: bytes) -> Answer:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    rows = []
    for part in message.iter_attachments() if message.is_multipart() else ():
        content = part.get_content() if not part.is_multipart() or part.get_content_type() == "message/rfc822" else b""
        if isinstance(content, str):
            content = part.get_payload(decode=True)
        elif not isinstance(content, bytes):
            content = bytes(content)
        rows.append(attachment(part.get_filename(), content))
    return {
        "subject": words(message["subject"]),
        "to": [address.addr_spec for field in message.get_all("to") or [] for address in field.addresses],
        "text": words(plain.get_content() if plain is not None else ""),
        "html": words(html.get_content() if html is not None else ""),
        "attachments": sorted(rows),
    }


def mail_parser(octets: bytes) -> Answer:
    message = module("mailparser", "mail-parser").parse_from_bytes(octets)
    rows = []
    for item in message.attachments:
        payload = item["payload"] or ""
        content = payload.encode("utf-8", "surrogateescape")
        if item["binary"]:
            try:
                content = base64.b64decode(payload)
            except binascii.Error:
                content = b""
        rows.append(attachment(item["filename"], content))
    return {
        "subject": words(message.subject),
        "to": [address for _, address in message.to],
        "text": words(" ".join(message.text_plain)),
        "html": words(" ".join(message.text_html)),
        "attachments": sorted(rows),
    }


def of_node(paths: Iterable[Path], modules: str) -> list[dict[str, Answer | None]]:
    """Answers of postal-mime and mailparser, all messages in one process."""
    program = Path(__file__).with_name("conversion_parsers.mjs")
    found = subprocess.run(
        ["node", program],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
        env=dict(os.environ, MAILJAM_NODE_MODULES=modules),
    )
    answers = []
    for line in found.stdout.split("\n"):
        if not line:
            continue
        row = json.loads(line)
        for answer in row.values():
            if answer is not None:
                for item in ("subject", "text", "html"):
                    answer[item] = words(answer[item])
                answer["attachments"] = sorted(
                    (words(name), size, digest) for name, size, digest in answer["attachments"]
                )
        answers.append(row)
    return answers


def attempt(parse: Any, octets: bytes) -> Answer | None:
    try:
        return parse(octets)
    except pytest.skip.Exception:
        raise
    except Exception:  # they raise on some of these messages
        return None


def disagreements(octets: bytes, node: dict[str, Answer | None]) -> tuple[int, list[tuple[str, Any, dict[str, Any]]]]:
    """(items on which two or more of them agree, those of these where no such answer is ours with all answers)."""
    answers = {"email": attempt(stdlib, octets), "mail-parser": attempt(mail_parser, octets), **node}
    mine = ours(octets)
    agreed, differing = 0, []
    for item in ITEMS:
        given = {name: answer[item] for name, answer in answers.items() if answer is not None}
        counts = Counter(map(repr, given.values()))
        common = {value for value, count in counts.items() if count >= 2}
        if common:
            agreed += 1
            if repr(mine[item]) not in common:
                differing.append((item, mine[item], given))
    return agreed, differing


@pytest.fixture(autouse=True)
def quiet():
    """mail-parser logs each media type that it does not handle."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def test_where_other_parsers_agree_so_do_we() -> None:
    paths = corpus()
    agreed, unexplained = 0, []
    explained = {tuple(line.split("\t")[:2]) for line in TABLE.read_text().splitlines() if not line.startswith("#")}
    for path, answers in zip(paths, of_node(paths, node_modules()), strict=True):
        count, differing = disagreements(path.read_bytes(), answers)
        agreed += count
        for item, mine, theirs in differing:
            if (f"{path.parent.name}/{path.name}", item) not in explained:
                unexplained.append((path.name, item, mine, theirs))
    assert unexplained == []
    assert agreed > 2000


def test_each_difference_says_who_is_right_and_why() -> None:
    for line in TABLE.read_text().splitlines():
        if not line.startswith("#"):
            _, item, right, why = line.split("\t")
            assert item in ITEMS
            assert right in {"mailjam", "theirs", "nobody"}
            assert len(why) > 20


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
