"""Q279798, the seed: inbound and outbound IMAIL conversion enter two critical sections in opposite order."""

from __future__ import annotations

from .scenario import Scenario

SCENARIO = Scenario(
    name="q279798",
    kb="Q279798",
    title="Information Store Service Hangs After You Apply SP4",
    defect="B",
    defective_build="5.5.2653.23",
    patched_build="5.5.2654.29",
    trigger="one message on its way in (SMTP, NNTP POST, IMAP APPEND, gateway), one on its way out (POP3, IMAP, NNTP)",
    symptoms=(
        "the two conversions wait for each other's critical section",
        "messages are accepted and stay in the inbound queue",
        "greeting, login and NOOP still answer in every protocol",
        "reading and posting hang in every protocol",
        "the service stays in `stop pending`",
    ),
)
