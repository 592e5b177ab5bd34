"""What the front-ends may be told: limits, names, personality. One frozen object, a part of `emulator.config.Settings`.

Every limit has its unit in its name; `_max` is the largest value that is still accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one peer may make the server hold, read or wait for."""

    command_line_bytes_max: int = 8192
    """A command line of POP3, NNTP and SMTP, CRLF included (RFC 5321 section 4.5.3.1.4 asks for at least 512)."""
    imap_line_bytes_max: int = 65536
    """One line of an IMAP command, literals apart (RFC 7162 section 4 asks for at least 8192)."""
    imap_command_bytes_max: int = 1 << 20
    """A whole IMAP command with its literals, APPEND's messages apart."""
    literal_unauthenticated_bytes_max: int = 4096
    """A literal before login."""
    message_bytes_max: int = 64 << 20
    """A message or article, as transmitted (SIZE, APPENDLIMIT)."""
    hops_max: int = 100
    """Received fields of a message; one with more goes in a circle (RFC 5321 section 6.3 asks for at least 100)."""
    recipients_max: int = 32766
    """Recipients of one SMTP message (KB Q272672: 0x7FFE)."""
    bad_commands_max: int = 50
    """Unknown or ill-formed commands in a row before the connection is closed."""
    login_failures_max: int = 5
    """Failed logins before the connection is closed."""
    login_failure_delay_seconds: float = 0.0
    """Pause before the answer to a failed login."""
    unauthenticated_seconds_max: float = 300.0
    """From connect to login."""
    unauthenticated_commands_max: int = 1000
    """Commands before login, where a login is needed."""
    unauthenticated_bytes_max: int = 1 << 20
    """Octets received before login, where a login is needed."""
    input_seconds_max: float = 3600.0
    """A command or message must be whole this long after its first octet came, however steadily it trickles."""
    idle_seconds_max: float = 1800.0
    """Without a command (RFC 9051 section 5.4: at least 30 minutes; RFC 1939 section 3: 10; RFC 5321 4.5.3.2.7: 5)."""
    pop3_idle_seconds_max: float = 600.0
    smtp_idle_seconds_max: float = 300.0
    nntp_idle_seconds_max: float = 1800.0
    nntp_history_entries_max: int = 200_000
    """Message-IDs of articles that are not kept (expired, cancelled, refused) and shall not come again."""
    newsgroups_per_article_max: int = 50
    """Crossposting: names in one Newsgroups field."""
    output_batch_bytes_max: int = 65536
    """Replies gathered before they are written in one piece."""
    send_seconds_max: float = 300.0
    """A peer that does not read for this long is dropped."""
    reply_text_bytes_max: int = 450
    nesting_max: int = 32
    """Parentheses or criteria inside one another in one command."""


DEFAULT_CAPABILITIES_HIDDEN: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FrontEndSettings:
    """What all front-ends share."""

    hostname: str = "localhost"
    """The name in greetings, Received and Path fields."""
    version: str = "0.1.0"
    """mailjam's own version, in greetings of the modern personality."""
    build: str = "5.5.2654.29"
    """The emulated build of Store.exe, in greetings of the exchange55 personality."""
    personality: str = "modern"
    """`modern` or `exchange55`: greetings, capability lists and reply texts."""
    capabilities_hidden: frozenset[str] = DEFAULT_CAPABILITIES_HIDDEN
    """Capabilities (upper case) that are neither advertised nor accepted."""
    plaintext_login: bool = True
    """Whether a password may cross a connection without TLS. True suits a loopback test server."""
    login_required: bool = False
    """Whether SMTP mail and NNTP reading need a login first (POP3 and IMAP always do)."""
    smtp_tls_required: bool = False
    """Whether SMTP takes mail and passwords only under TLS (RFC 3207 section 4)."""
    posting_allowed: bool = True
    """Whether NNTP readers may POST."""
    nntp_transit: bool = True
    """Whether peers may feed articles: IHAVE, CHECK, TAKETHIS."""
    nntp_control_messages: bool = False
    """Whether newgroup, rmgroup and cancel messages are obeyed (RFC 5537 section 5)."""
    nntp_moderators: tuple[tuple[str, str], ...] = ()
    """(wildmat, address) in order: where submissions to a moderated group go; `%s` is the group, dots as hyphens."""
    nntp_motd: str = ""
    """LIST MOTD (RFC 6048 section 2.5)."""
    nntp_subscriptions: tuple[str, ...] = ()
    """LIST SUBSCRIPTIONS (RFC 6048 section 2.6): newsgroups for new readers."""
    nntp_distributions: tuple[tuple[str, str], ...] = ()
    """LIST DISTRIBUTIONS (RFC 6048 section 2.3): (name, description)."""
    nntp_distribution_patterns: tuple[tuple[int, str, str], ...] = ()
    """LIST DISTRIB.PATS (RFC 3977 section 7.6.5): (weight, wildmat, distribution)."""
    quirk_bare_lf: bool = False
    """A lone LF ends a command line too, for people who type into netcat. Never inside a message."""
    pop3_login_delay_seconds: int = 0
    """LOGIN-DELAY (RFC 2449 section 6.5): the least time between logins to one maildrop; 0: none."""
    pop3_expire_days: int | None = None
    """EXPIRE (RFC 2449 section 6.7): what is said about how long messages are kept; None: nothing is said."""
    smtp_greeting_seconds: float = 0.0
    """Pause before SMTP's greeting; a client that speaks during it is refused (KB Q286375 had such a pause)."""
    smtp_nul_refused: bool = False
    """Whether any NUL in DATA is refused (RFC 2045 section 2.8), not only one that could hide the end of a message.

    RFC 5321 section 4.1.1.4 lets mail data have all 128 characters, and real mail has NUL: bodies in UTF-16 that were
    sent as they are. By BDAT with BODY=BINARYMIME it may always come.
    """
    public_namespace: str = "Public Folders/"
    """The IMAP name under which newsgroups appear (KB Q311468)."""
    limits: Limits = field(default_factory=Limits)
