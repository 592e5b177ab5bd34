"""The command line that asks a running server: a real one, in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_mailjam
from harness.cli import main
from harness.remote import Remote


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    started = pytest_mailjam.start_process({})
    yield started.url
    started.close()


def test_send_wait_dump_ingest(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tenant", "--http", url, "add", "shop", "--user", "bob:secret", "--group", "shop.test"]) == 0
    assert "shop             5.5." in capsys.readouterr().out
    assert main(["send", "--http", url, "--tenant", "shop", "--to", "bob", "--subject", "hello", "--text", "hi"]) == 0
    assert main(["wait", "--http", url, "--tenant", "shop", "to:bob", "subject:hello"]) == 0
    assert '"Subject": "hello"' in capsys.readouterr().out
    assert main(["dump", "--http", url, "--tenant", "shop", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.eml")
    assert b"Subject: hello" in file.read_bytes()
    assert main(["wait", "--http", url, "--timeout", "0.1", "to:bob"]) == 1
    assert main(["tenant", "--http", url, "remove", "shop"]) == 0
    assert main(["wait", "--http", url, "--tenant", "shop"]) == 2
    assert "mailjam tenant add shop" in capsys.readouterr().err
    assert main(["ingest", "--http", url, "--to", "carol", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("1 messages\n")
    assert main(["wait", "--http", url, "--timeout", "0.1", "subject:nothing"]) == 1
    assert "no message within 0.1 s" in capsys.readouterr().err


def test_options_stand_anywhere(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fault", "add", "error", "command=RCPT", "nth=2", "--http", url]) == 0
    assert main(["fault", "add", "--http", url, "delay", "seconds=1", "command=RCPT"]) == 0
    assert main(["fault", "clear", "--http", url]) == 0
    assert capsys.readouterr().err.count("never struck") == 2
    assert main(["fault", "--http", url, "add", "--tenant", "a b", "error"]) == 2
    assert "use letters" in capsys.readouterr().err


def test_tenants(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["user", "add", "anna:secret", "--http", url]) == 0
    assert main(["tenant", "add", "copy", "--fork", "--build", "sp4", "--port", "nntp=0", "--http", url]) == 0
    assert "5.5.2653.23" in capsys.readouterr().out
    assert main(["user", "list", "--http", url, "--tenant", "copy"]) == 0
    assert "anna" in capsys.readouterr().out
    assert main(["tenant", "reset", "copy", "--http", url]) == 0
    assert main(["user", "list", "--http", url, "--tenant", "copy"]) == 0
    assert "anna" not in capsys.readouterr().out
    assert main(["tenant", "list", "--http", url]) == 0
    assert "copy" in capsys.readouterr().out
    assert main(["tenant", "add", "copy", "--http", url]) == 2
    assert main(["tenant", "add", "--http", url]) == 2
    assert "tenant copy exists" in (said := capsys.readouterr().err)
    assert "give a name" in said
    assert main(["tenant", "remove", "copy", "--http", url]) == 0


def test_faults(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fault", "--http", url, "add", "error", "command=RCPT", "text=451 4.3.0 later"]) == 0
    assert main(["fault", "--http", url, "list"]) == 0
    assert "error command=RCPT text='451 4.3.0 later'" in capsys.readouterr().out
    assert main(["fault", "--http", url, "clear"]) == 0
    assert "never struck" in capsys.readouterr().err
    script = tmp_path / "faults.toml"
    script.write_text('faults = ["delay command=RCPT seconds=1"]\n')
    assert main(["fault", "--http", url, "load", str(script)]) == 0
    assert main(["fault", "--http", url, "clear"]) == 0
    assert main(["fault", "--http", url, "add", "explode"]) == 2
    assert "unknown verb" in capsys.readouterr().err
    assert main(["fault", "--http", url, "record", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_users(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["user", "--http", url, "add", "dora:secret"]) == 0
    assert main(["user", "--http", url, "add", "dora"]) == 2
    assert "write NAME:PASSWORD" in capsys.readouterr().err
    assert main(["user", "--http", url, "list"]) == 0
    assert "dora" in capsys.readouterr().out
    assert main(["user", "--http", "http://127.0.0.1:1", "add", "x:y"]) == 2
    assert "no mailjam at" in capsys.readouterr().err


def test_services(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "--http", url]) == 0
    assert "MSExchangeIS     running" in capsys.readouterr().out
    assert main(["service", "--http", url, "IMC", "stop"]) == 0
    assert "MSExchangeIMC    stopped" in capsys.readouterr().out
    assert main(["service", "--http", url, "IMC", "pause"]) == 2
    assert "only a running service" in capsys.readouterr().err
    assert main(["service", "--http", url, "start", "imc"]) == 0, "either may stand first"
    assert "MSExchangeIMC    running" in capsys.readouterr().out
    assert main(["service", "--http", url, "IMC", "halt"]) == 2
    assert "write a name and" in capsys.readouterr().err
    assert main(["service", "--http", url, "none", "stop"]) == 2
    assert "no service" in capsys.readouterr().err


def test_a_stop_that_does_not_end_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    started = pytest_mailjam.start_process({})
    try:
        Remote(started.url).json("POST", "/api/jam")
        assert main(["service", "--http", started.url, "--timeout", "0.3", "IS", "stop"]) == 1
    finally:
        started.close()
    said = capsys.readouterr().err
    assert "MSExchangeIMC is in `stop pending`" in said
    assert "held by" in said or "--wants imail-->" in said
