"""The NNTP front-end: RFC 3977 whole, and RFC 4642 (TLS), 4643 (login), 4644 (streaming), 6048, 8054 (DEFLATE)."""

from .history import History, history_of
from .session import NntpSession

__all__ = ["History", "NntpSession", "history_of"]
