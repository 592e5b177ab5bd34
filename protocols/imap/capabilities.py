"""What is advertised, before and after login (RFC 9051 section 6.1.1), and the words of each personality.

A name stands here only when all that its RFC asks for works. `capabilities_hidden` takes names away; commands that
belong to a hidden name are unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols import sasl

if TYPE_CHECKING:
    from .session import ImapSession

BEFORE_LOGIN = ("IMAP4rev1", "IMAP4rev2", "LITERAL+", "LITERAL-", "SASL-IR", "ID", "ENABLE")

AFTER_LOGIN = (
    "IMAP4rev1",
    "IMAP4rev2",
    "LITERAL+",
    "LITERAL-",
    "ID",
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "UNSELECT",
    "UIDPLUS",
    "MOVE",
    "REPLACE",
    "MULTIAPPEND",
    "CATENATE",
    "BINARY",
    "CHILDREN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "LIST-MYRIGHTS",
    "LIST-METADATA",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "STATUS=SIZE",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "PARTIAL",
    "MULTISEARCH",
    "CONTEXT=SEARCH",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "I18NLEVEL=1",
    "CONDSTORE",
    "QRESYNC",
    "UIDONLY",
    "UIDBATCHES",
    "NOTIFY",
    "METADATA",
    "ACL",
    "RIGHTS=texk",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "OBJECTID",
    "SAVEDATE",
    "PREVIEW",
    "UTF8=ACCEPT",
    "UNAUTHENTICATE",
    "INPROGRESS",
)

EXCHANGE55 = ("IMAP4", "IMAP4rev1", "IDLE", "LITERAL+", "LOGIN-REFERRALS", "MAILBOX-REFERRALS", "NAMESPACE")
"""KB Q262986; the order is Exchange 2003's. AUTH=NTLM stood behind them."""


def capability_names(session: ImapSession) -> list[str]:
    """The capabilities that a peer can use now, in the order in which they are sent."""
    hidden = session.settings.capabilities_hidden
    names: list[str] = []
    if session.user:
        names += _personal(session, AFTER_LOGIN)
        if session.settings.personality != "exchange55":
            names.append(f"APPENDLIMIT={session.limits.message_bytes_max}")
            if not session.connection.compressed:
                names.append("COMPRESS=DEFLATE")
    else:
        names += _personal(session, BEFORE_LOGIN)
        if session.connection.tls_available:
            names.append("STARTTLS")
        names += [f"AUTH={name}" for name in mechanism_names(session)]
        if not plaintext_allowed(session):
            names.append("LOGINDISABLED")
    shown = [name for name in names if name.upper() not in hidden and name.partition("=")[0].upper() not in hidden]
    if "LITERAL+" in shown and "LITERAL-" in shown:
        shown.remove("LITERAL-")  # RFC 7888 section 5: never both
    return shown


def _personal(session: ImapSession, names: tuple[str, ...]) -> tuple[str, ...]:
    return EXCHANGE55 if session.settings.personality == "exchange55" else names


def plaintext_allowed(session: ImapSession) -> bool:
    """Whether a password may cross this connection in the open."""
    return session.settings.plaintext_login or session.connection.tls


def mechanism_names(session: ImapSession) -> tuple[str, ...]:
    """The SASL mechanisms on offer."""
    return sasl.mechanisms(
        session.services.directory,
        tls=session.connection.tls,
        plaintext_allowed=session.settings.plaintext_login,
        binding=session.connection.channel_binding,
        hidden=session.settings.capabilities_hidden,
        ntlm_too=session.settings.personality == "exchange55",
    )


def capability_code(session: ImapSession) -> bytes:
    """`CAPABILITY …` as a response code."""
    return ("CAPABILITY " + " ".join(capability_names(session))).encode("ascii", "replace")


def greeting_text(session: ImapSession) -> bytes:
    """What is said first."""
    settings = session.settings
    if settings.personality == "exchange55":
        text = f"Microsoft Exchange IMAP4rev1 server version {settings.build} ({settings.hostname}) ready"
        return b"* OK " + text.encode("ascii", "replace") + b"\r\n"
    text = f"{settings.hostname} mailjam {settings.version} IMAP4 ready"
    return b"* OK [" + capability_code(session) + b"] " + text.encode("ascii", "replace") + b"\r\n"


def signing_off(session: ImapSession) -> bytes:
    """The untagged BYE of LOGOUT and of a service that stops."""
    settings = session.settings
    if settings.personality == "exchange55":
        text = f"Microsoft Exchange IMAP4rev1 server version {settings.build} signing off"
        return b"* BYE " + text.encode("ascii", "replace") + b"\r\n"
    if session.shutdown_requested:
        return b"* BYE [UNAVAILABLE] The service is stopping\r\n"
    return b"* BYE Logging out\r\n"
