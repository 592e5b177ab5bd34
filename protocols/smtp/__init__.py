"""SMTP (RFC 5321) and LMTP (RFC 2033): the dialogue, sans-IO. `emulator.smtp` runs it as an aiosmtpd SMTP server."""

from . import commands as commands  # they register what they have before lmtp looks
from . import extensions as extensions
from .lmtp import LmtpSession
from .session import SmtpSession

__all__ = ["LmtpSession", "SmtpSession"]
