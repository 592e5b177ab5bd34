"""The IMAP4 front-end (RFC 3501, RFC 9051 and extensions). `session.ImapSession` is its door.

cutter      a command and its literals, whole and bounded, before anything is parsed
scanner     atoms, strings, lists, sequence sets out of a command
session     the dialogue: states, refusals, completions
view        what a session knows of its selected mailbox, and how that follows the mailbox
dialogue, mailboxes, listing, append, messages, fetch, search, …    the commands
"""

from . import (
    append,
    batches,
    context,
    dialogue,
    fetch,
    listing,
    mailboxes,
    messages,
    metadata,
    multisearch,
    notify,
    rights,
    search,
    sort,
    thread,
)
from .session import ImapSession

__all__ = [
    "ImapSession",
    "append",
    "batches",
    "context",
    "dialogue",
    "fetch",
    "listing",
    "mailboxes",
    "messages",
    "metadata",
    "multisearch",
    "notify",
    "rights",
    "search",
    "sort",
    "thread",
]
