"""Counters and gauges in Prometheus's text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from emulator.server import Server
from harness.workbench import Workbench

Sample = tuple[Mapping[str, str], float]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """Counters in full: a scraper takes differences of them."""
    return str(int(value)) if value == int(value) else f"{value:.6f}"


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> list[str]:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        label = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
        lines.append(f"{name}{{{label}}} {_number(value)}" if label else f"{name} {_number(value)}")
    return lines


def _of_sections(server: Server) -> list[list[str]]:
    sections, now = list(server.sections), server.scheduler.now()
    return [
        _family(
            "mailjam_section_held_seconds",
            "gauge",
            "How long the owner has had the section; 0 while it is free.",
            [({"section": s.name}, now - s.held_since if s.owner is not None else 0) for s in sections],
        ),
        _family(
            "mailjam_section_waiters",
            "gauge",
            "Actors that wait.",
            [({"section": s.name}, len(s.waiters)) for s in sections],
        ),
        _family(
            "mailjam_section_entered_total", "counter", "Entries.", [({"section": s.name}, s.entered) for s in sections]
        ),
        _family(
            "mailjam_section_contended_total",
            "counter",
            "Entries that had to wait.",
            [({"section": s.name}, s.contended) for s in sections],
        ),
    ]


def exposition(workbench: Workbench) -> str:
    """All families."""
    server = workbench.server
    inbound = server.inbound
    front_ends = {**server.front_ends, **server.mail_front_ends}
    sessions = {name: len(front_end.connections) for name, front_end in front_ends.items()}
    families = [
        _family("mailjam_info", "gauge", "Build.", [({"build": server.build.number}, 1)]),
        _family("mailjam_messages_accepted_total", "counter", "Messages acknowledged.", [({}, inbound.accepted_count)]),
        _family(
            "mailjam_messages_delivered_total",
            "counter",
            "Messages put into mailboxes.",
            [({}, inbound.delivered_count)],
        ),
        _family("mailjam_messages_bad_total", "counter", "Messages that went to BAD.", [({}, inbound.bad_count)]),
        _family("mailjam_messages", "gauge", "Messages in the store.", [({}, len(workbench.archive))]),
        _family(
            "mailjam_conversions_total",
            "counter",
            "Passages through the IMAIL conversion stage.",
            [
                ({"direction": "inbound"}, server.converter.inbound_count),
                ({"direction": "outbound"}, server.converter.outbound_count),
            ],
        ),
        _family(
            "mailjam_queue_messages",
            "gauge",
            "Messages in each queue.",
            [({"queue": name}, length) for name, length in server.queue_lengths().items()],
        ),
        *_of_sections(server),
        _family(
            "mailjam_jammed", "gauge", "1 while sections wait for one another.", [({}, len(server.sections.cycles()))]
        ),
        _family(
            "mailjam_sessions",
            "gauge",
            "Open sessions.",
            [({"protocol": name}, open_) for name, open_ in sessions.items()],
        ),
        _family(
            "mailjam_service_running",
            "gauge",
            "1 while the service runs.",
            [({"service": name}, state.value == "running") for name, state in server.states().items()],
        ),
        _family(
            "mailjam_faults_struck_total",
            "counter",
            "Strikes of fault scripts.",
            [({}, len(workbench.faults.strikes()))],
        ),
    ]
    return "\n".join(line for family in families for line in family) + "\n"
