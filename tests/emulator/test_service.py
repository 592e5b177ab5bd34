"""Service control."""

import asyncio

import pytest

from emulator.events import Bus, ServiceStateChanged
from emulator.scheduling import AsyncioScheduler
from emulator.service import Service, ServiceControl, ServiceError, State, Steps


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def control(log: list[str]) -> ServiceControl:
    bus = Bus()
    bus.on(ServiceStateChanged, lambda event: log.append(f"{event.service} {event.state}"))
    control = ServiceControl(AsyncioScheduler(), bus)
    control.add(Service("MSExchangeIS", "Information Store", Steps()))
    control.add(Service("MSExchangeIMC", "Internet Mail Service", Steps(), needs=("MSExchangeIS",)))
    return control


async def test_starting_the_one_starts_what_it_needs(control: ServiceControl, log: list[str]) -> None:
    await control.start("IMC")
    assert log == [
        "MSExchangeIS start pending",
        "MSExchangeIS running",
        "MSExchangeIMC start pending",
        "MSExchangeIMC running",
    ]


async def test_stopping_the_store_stops_mail_first(control: ServiceControl, log: list[str]) -> None:
    await control.start("IMC")
    log.clear()
    await control.stop("is")
    assert log == [
        "MSExchangeIMC stop pending",
        "MSExchangeIMC stopped",
        "MSExchangeIS stop pending",
        "MSExchangeIS stopped",
    ]


async def test_a_stop_that_does_not_end_stays_pending(control: ServiceControl) -> None:
    await control.start("IMC")
    never = asyncio.Event()

    async def wait() -> None:
        await never.wait()

    control.find("IMC").steps.stop = wait
    stop = control.request_stop("IS")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not stop.done()
    assert control.find("IMC").state is State.STOP_PENDING
    assert control.find("IS").state is State.RUNNING
    second = asyncio.ensure_future(control.stop("IMC"))
    never.set()
    await asyncio.wait([stop, second])
    assert control.find("IS").state is State.STOPPED


async def test_pause_and_continue(control: ServiceControl) -> None:
    await control.start("IMC")
    await control.pause("IMC")
    assert control.find("IMC").state is State.PAUSED
    with pytest.raises(ServiceError, match="paused"):
        await control.pause("IMC")
    await control.resume("IMC")
    assert control.find("IMC").state is State.RUNNING
    with pytest.raises(ServiceError):
        await control.resume("IMC")


async def test_a_failed_start_leaves_it_stopped(control: ServiceControl) -> None:
    async def fail() -> None:
        raise OSError("port in use")

    control.find("IMC").steps.start = fail
    with pytest.raises(OSError, match="port in use"):
        await control.start("IMC")
    assert control.find("IMC").state is State.STOPPED
    with pytest.raises(ServiceError, match="no service"):
        control.find("nonsense")
