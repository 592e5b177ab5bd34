"""Gateways (EDK connectors) to other mail systems: a Maildir, an HTTP endpoint, an external program.

A connector is a class with `name`, `takes(address)` and `deliver(transfer, properties)` (see `emulator.mts.Connector`);
`MessageTransferStub.log_on` starts its threads. What brings messages in hands them to `MessageTransferStub.submit`.
"""

from .maildir import MaildirConnector
from .process import ProcessConnector
from .webhook import WebhookConnector

__all__ = ["MaildirConnector", "ProcessConnector", "WebhookConnector"]
