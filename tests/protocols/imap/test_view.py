"""Sessions on one mailbox: no untagged response may contradict what a client knows (RFC 3501 section 7.4, RFC 2180)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location("imap_stress", Path(__file__).with_name("stress.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
stress = importlib.util.module_from_spec(_SPEC)
sys.modules["imap_stress"] = stress
_SPEC.loader.exec_module(stress)


@pytest.mark.parametrize("seed", range(4))
async def test_many_sessions_agree_with_the_rfc(start_server: Any, seed: int) -> None:
    server = await start_server(users=["alice:secret"], smtp_port=None, pop3_port=None, nntp_port=None)
    host, port = server.addresses["imap"]
    complaints = await stress.run(host, port, seed=seed, clients=6, commands=120)
    assert complaints.found == []


@pytest.mark.parametrize("seed", range(2))
async def test_a_client_that_resynchronizes_is_up_to_date(start_server: Any, seed: int) -> None:
    server = await start_server(users=["alice:secret"], smtp_port=None, pop3_port=None, nntp_port=None)
    host, port = server.addresses["imap"]
    complaints = await stress.run_with_resync(host, port, seed=seed, clients=4, commands=100)
    assert complaints.found == []


@pytest.mark.parametrize("seed", range(2))
async def test_what_extensions_tell_agrees_with_what_is_there(start_server: Any, seed: int) -> None:
    server = await start_server(users=["alice:secret"], smtp_port=None, pop3_port=None, nntp_port=None)
    host, port = server.addresses["imap"]
    complaints = await stress.run_mixed(host, port, seed=seed, clients=8, commands=80)
    assert complaints.found == []
