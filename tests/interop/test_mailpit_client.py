"""An existing client library for Mailpit (npm: mailpit-api) reads a mailjam."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
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
  await client.deleteMessages({ IDs: [sent.ID] });
  const left = await client.listMessages();
  console.log(JSON.stringify({ sent, info, list, found, message, headers, raw: raw.length, html, unread, left }));
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
