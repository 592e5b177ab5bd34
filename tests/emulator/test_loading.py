"""Messages that are there from the start."""

from pathlib import Path
from typing import Any

import pytest

from emulator.config import SettingsError
from emulator.loading import eml_files, load, with_crlf


def test_line_ends() -> None:
    assert with_crlf(b"a\nb\r\nc\n") == b"a\r\nb\r\nc\r\n"


def test_a_folder_that_is_not_there_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"name one that holds \.eml files"):
        eml_files(tmp_path / "nowhere")
    (tmp_path / "a.eml").write_bytes(b"")
    (tmp_path / "b.txt").write_bytes(b"")
    assert [path.name for path in eml_files(tmp_path)] == ["a.eml"]


async def test_each_file_goes_where_it_belongs(start_server: Any, tmp_path: Path) -> None:
    server = await start_server(users=["alice:secret", "bob:secret"], groups=("misc.test",))
    files = {
        "to.eml": b"To: Alice <alice@x.test>, carol@x.test\n\nx\n",
        "bob/owned.eml": b"To: alice@x.test\n\nx\n",
        "bob/Archive/old.eml": b"Subject: old\n\nx\n",
        "misc.test/article.eml": b"Subject: article\n\nx\n",
        "news.eml": b"Newsgroups: comp.test, misc.test\n\nx\n",
        "stranger.eml": b"To: stranger@x.test\n\nx\n",
        "nobody.eml": b"Subject: no recipients\n\nx\n",
    }
    for name, octets in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(octets)
    assert await load(server, tmp_path) == len(files)
    store = server.store
    counts = {
        f"{name}/{folder.name}": len(folder.messages)
        for name, mailbox in store.mailboxes.items()
        for folder in mailbox.folders.values()
        if folder.messages
    }
    assert counts == {
        "alice/INBOX": 1,
        "bob/INBOX": 1,
        "bob/Archive": 1,
        "stranger@x.test/INBOX": 1,
        "postmaster/INBOX": 1,
    }
    assert {name: len(group.messages) for name, group in store.newsgroups.items()} == {"misc.test": 2, "comp.test": 1}
