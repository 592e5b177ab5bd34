"""The state of the system as one JSON value: what the page, the API and MQTT show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.server import Server


def jam(server: Server) -> dict[str, Any]:
    """Sections, waits, cycles, queues and services now."""
    now = server.scheduler.now()
    cycles = server.sections.cycles()
    return {
        "jammed": bool(cycles),
        "build": server.build.number,
        "sections": [
            {
                "name": section.name,
                "rank": section.rank,
                "purpose": section.purpose,
                "owner": str(section.owner) if section.owner is not None else None,
                "held_seconds": round(now - section.held_since, 3) if section.owner is not None else None,
                "waiters": [
                    {"actor": str(actor), "seconds": round(now - actor.waiting_since, 3)} for actor in section.waiters
                ],
                "entered": section.entered,
                "contended": section.contended,
            }
            for section in server.sections
        ],
        "waits": [
            {"waiter": str(wait.waiter), "section": wait.section.name, "owner": str(wait.owner)}
            for wait in server.sections.waits()
        ],
        "cycles": [
            [{"waiter": str(w.waiter), "section": w.section.name, "owner": str(w.owner)} for w in cycle]
            for cycle in cycles
        ],
        "order_violations": [
            {"kind": kind, "held": held, "wanted": wanted, "count": count}
            for (kind, held, wanted), count in sorted(server.sections.violations.items())
        ],
        "queues": server.queue_lengths(),
        "services": [
            {
                "name": service.name,
                "title": service.title,
                "state": service.state.value,
                "seconds": round(now - service.since, 1) if service.since else 0.0,
            }
            for service in server.control.services.values()
        ],
    }
