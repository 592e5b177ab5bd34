"""Helpers of deliveries; the whole way of a message is tested with a server in test_server.py and test_held.py."""

from emulator.deliveries import return_path
from emulator.spool import Envelope


def test_return_path() -> None:
    assert return_path(Envelope("a@b", ("c@d",))) == b"Return-Path: <a@b>\r\n"
    assert return_path(Envelope("", ("c@d",))) == b"Return-Path: <>\r\n"
