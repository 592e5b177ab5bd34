"""Q193782 (class 15): a message that the service cannot take stops it, and again after each restart."""

from __future__ import annotations

from emulator.server import IMC
from emulator.service import State

from .scenario import Scenario
from .stage import Stage, mail

SCENARIO = Scenario(
    name="q193782",
    kb="Q193782",
    title="Internet Mail Service Stops with Event IDs 4182, 12800",
    defect="poison-spool",
    defective_build="5.5.2232.9",
    patched_build="5.5.2448.8",
    trigger="SMTP RCPT TO an encapsulated address (IMCEAEX-…) with a corrupt escape",
    symptoms=(
        "the Internet Mail Service stops itself (4182, 4102); the message stays in In",
        "started again, it stops again, until somebody removes the file by hand",
    ),
)

ADDRESS = "IMCEAEX-_O=ORG_OU=SITE_CN=ALICE+2@example.com"


async def provoke(stage: Stage) -> str:
    """What is seen, or an empty string where all is well."""
    control = stage.server.control
    service = control.find(IMC)
    await stage.send(mail("encapsulated"), [ADDRESS])
    await stage.delivered()
    if service.state is State.RUNNING:
        return ""
    await stage.answers(control.wait_for(service, State.STOPPED))
    await control.start(IMC)
    if not await stage.answers(control.wait_for(service, State.STOPPED)):
        return ""
    return f"the service has stopped itself twice; {stage.server.inbound.awaiting_conversion} message stays in In"
