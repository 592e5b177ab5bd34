"""Existing client libraries for Mailpit (npm: mailpit-api, PyPI: mailpit-api-client) use a mailjam."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import smtplib
import subprocess
from email.message import EmailMessage
from importlib.util import find_spec
from pathlib import Path

import pytest

import pytest_mailjam

pytestmark = pytest.mark.interop
SCRIPT = """
const { MailpitClient } = require("mailpit-api");
(async () => {
  const client = new MailpitClient(process.argv[1]);
  const sent = await client.sendMessage({
    From: { Email: "a@example.org", Name: "A" }, To: [{ Email: "bob@example.com" }],
    Subject: "Hello", Text: "text", HTML: "<b>html</b>",
    Attachments: [{ Filename: "a.txt", Content: "aGk=", ContentType: "text/plain" }],
  });
  const info = await client.getInfo();
  const list = await client.listMessages();
  const found = await client.searchMessages({ query: "subject:hello has:attachment" });
  const message = await client.getMessageSummary(sent.ID);
  const headers = await client.getMessageHeaders("latest");
  const raw = await client.getMessageSource();
  const html = await client.renderMessageHTML();
  await client.setReadStatus({ IDs: [sent.ID], Read: false });
  const unread = await client.searchMessages({ query: "is:unread" });
  const links = await client.linkCheck();
  await client.setTags({ IDs: [sent.ID], Tags: ["old"] });
  await client.renameTag("old", "big shop");
  const tags = await client.getTags();
  await client.deleteTag("big shop");
  const chaos = await client.setChaosTriggers({ Recipient: { ErrorCode: 550, Probability: 100 } });
  const healed = await client.setChaosTriggers();
  const awaited = await client.waitForMessage({ query: "subject:hello" }, { timeout: 20000 });
  const released = await client.releaseMessage("latest", { To: ["bob@example.com"] }).catch(String);
  await client.deleteMessages({ IDs: [sent.ID] });
  const left = await client.listMessages();
  console.log(JSON.stringify({ sent, info, list, found, message, headers, raw: raw.length, html, unread, left,
    links, tags, chaos, healed, awaited, released }));
})().catch((problem) => { console.error(String(problem)); process.exit(1); });
"""


def node_modules() -> str:
    """Where the library is, or a skip with the command that installs it."""
    npm, folder = shutil.which("npm"), os.environ.get("MAILJAM_NODE_MODULES", "")
    if not folder and npm is not None:
        folder = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=False).stdout.strip()
    if not folder or not (Path(folder) / "mailpit-api").is_dir():
        if os.environ.get("CI"):
            pytest.fail("npm install -g mailpit-api")
        pytest.skip("npm install -g mailpit-api")
    return folder


def test_mailpit_api_from_npm() -> None:
    environment = {**os.environ, "NODE_PATH": node_modules()}
    started = pytest_mailjam.start_process({})
    try:
        done = subprocess.run(
            ["node", "-e", SCRIPT, started.url],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        started.close()
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["list"]["messages"][0]["Subject"] == "Hello"
    assert answer["found"]["messages_count"] == 1
    assert answer["message"]["Attachments"][0]["FileName"] == "a.txt"
    assert answer["message"]["Text"].strip() == "text"
    assert answer["headers"]["Subject"] == ["Hello"]
    assert "<b>html</b>" in answer["html"]
    assert answer["unread"]["messages_count"] == 1
    assert answer["left"]["total"] == 0
    assert answer["links"] == {"Errors": 0, "Links": []}
    assert answer["tags"] == ["big shop"]
    assert answer["chaos"]["Recipient"] == {"ErrorCode": 550, "Probability": 100}
    assert answer["healed"]["Recipient"]["Probability"] == 0
    assert answer["awaited"]["Subject"] == "Hello"
    assert "--smarthost" in answer["released"]


def test_mailpit_api_client_from_pypi() -> None:
    client = importlib.import_module("mailpit.client.api") if find_spec("mailpit") else None
    if client is None:
        if os.environ.get("CI"):
            pytest.fail("pip install mailpit-api-client")
        pytest.skip("pip install mailpit-api-client")
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "A <a@example.org>", "Bob <bob@example.com>", "Hello"
    made["Date"], made["Message-ID"] = "Tue, 01 Jun 2010 10:00:00 +0200", "<one@example.org>"
    made["Delivered-To"] = "bob@example.com"
    made.set_content("text")
    made.add_attachment(b"hi", maintype="text", subtype="plain", filename="a.txt")
    started = pytest_mailjam.start_process({})
    try:
        with smtplib.SMTP(*started.addresses["smtp"]) as smtp:
            smtp.send_message(made)
        started.wait("subject:hello")
        api = client.API(started.url)
        (listed,) = api.get_messages().messages
        message = api.get_message(listed.id)
        assert (message.subject, message.text.strip(), message.from_.address) == ("Hello", "text", "a@example.org")
        assert api.get_message_attachment(listed.id, message.attachments[0].part_id) == "hi"
        assert api.get_message_headers(listed.id).message_id == ["<one@example.org>"]
        api.delete_messages([])
        assert api.get_messages().total == 0
    finally:
        started.close()
