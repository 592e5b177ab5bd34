"""The publisher and the swarm with a real mosquitto."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from emulator.config import SettingsError
from emulator.server import Server
from harness.clients import SmtpClient
from harness.mqtt import Broker, Publisher, Sequence
from harness.swarm import Agent, Plan, Swarm
from harness.workbench import Workbench

pytestmark = [pytest.mark.mqtt, pytest.mark.timeout(90)]


class Mosquitto:
    """A broker of our own on a port of ours."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
            f"persistence true\npersistence_location {folder}/\nuser {getpass.getuser()}\n"
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}/lab"

    async def start(self) -> None:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = await asyncio.create_subprocess_exec(
            *(program, "-c", str(self._config)), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        for _ in range(500):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.01)
        pytest.fail("mosquitto does not listen")

    def forget(self) -> None:
        """Lose what was retained."""
        (self._config.parent / "mosquitto.db").unlink(missing_ok=True)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()
            self._process = None


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    if shutil.which("mosquitto") is None and not Path("/usr/sbin/mosquitto").exists():
        if os.environ.get("CI"):
            pytest.fail("no mosquitto: apt-get install mosquitto")
        pytest.skip("apt-get install mosquitto")
    running = Mosquitto(tmp_path)
    await running.start()
    yield running
    await running.stop()


class Listener:
    """Everything below the prefix, as it comes."""

    def __init__(self, url: str) -> None:
        self._broker = Broker.parse(url)
        self.seen: dict[str, list[Any]] = {}
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def __aenter__(self) -> Listener:
        self._task = asyncio.ensure_future(self._run())
        await asyncio.wait_for(self._ready.wait(), 10)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with self._broker.client("listener") as client:
            await client.subscribe("lab/#", qos=1)
            self._ready.set()
            async for message in client.messages:
                text = bytes(message.payload).decode()
                value = text if text in ("online", "offline") else json.loads(text)
                self.seen.setdefault(str(message.topic), []).append(value)

    async def until(self, topic: str, condition: Callable[[Any], bool]) -> Any:
        """Wait until a value of the topic fulfils the condition."""
        async with asyncio.timeout(15):
            while True:
                for value in self.seen.get(topic, []):
                    if condition(value):
                        return value
                await asyncio.sleep(0.01)


StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(users=["swarm:swarm"], groups=["misc.test"])


async def send(server: Server, subject: str = "x") -> None:
    async with await SmtpClient.connect(server.addresses["smtp"]) as client:
        await client.hello()
        await client.send("a@example.org", ["swarm@example.com"], f"Subject: {subject}\r\n\r\nx\r\n".encode())


async def test_events_states_and_will(broker: Mosquitto, server: Server) -> None:
    publisher = Publisher(server, Broker.parse(broker.url))
    publisher.start()
    async with Listener(broker.url) as listener:
        await listener.until("lab/status", lambda value: value == "online")
        await listener.until("lab/state/services/MSExchangeIS", lambda value: value == {"state": "running"})
        await send(server)
        await listener.until("lab/events/message", lambda value: value["what"] == "accepted")
        delivered = await listener.until("lab/events/message", lambda value: value["what"] == "delivered")
        assert delivered["folders"] == ["swarm/INBOX"]
        await listener.until("lab/events/session", lambda value: value["what"] == "closed")
        await publisher.close()
        await listener.until("lab/status", lambda value: value == "offline")


async def test_a_jam_is_a_retained_state(broker: Mosquitto, server: Server) -> None:
    publisher = Publisher(server, Broker.parse(broker.url))
    publisher.start()
    workbench = Workbench.of(server)
    async with Listener(broker.url) as listener:
        await listener.until("lab/state/jam", lambda value: not value["jammed"])
        await workbench.jamming.jam()
        jammed = await listener.until("lab/state/jam", lambda value: value["jammed"])
        assert len(jammed["cycles"][0]) == 2
    async with Listener(broker.url) as late:
        await late.until("lab/state/jam", lambda value: value["jammed"])
        await workbench.jamming.release()
        await late.until("lab/state/jam", lambda value: not value["jammed"])
    await publisher.close()


async def test_events_survive_a_restart_of_the_broker_and_count_once(broker: Mosquitto, server: Server) -> None:
    import aiomqtt

    def reader() -> aiomqtt.Client:
        """One whose subscription the broker keeps, with what comes in while it is away."""
        return aiomqtt.Client("127.0.0.1", broker.port, identifier="reader", clean_session=False)

    async with reader() as client:
        await client.subscribe("lab/events/#", qos=1)
    publisher = Publisher(server, Broker.parse(broker.url))
    publisher.start()
    await send(server, "before")
    await drained(publisher)
    await broker.stop()
    for number in range(3):
        await send(server, f"away {number}")
    await server.inbound.settled()
    await broker.start()
    await drained(publisher)
    await send(server, "after")
    await drained(publisher)
    sequence, numbers, accepted = Sequence(), [], 0
    async with asyncio.timeout(20), reader() as client:
        async for message in client.messages:
            event = json.loads(bytes(message.payload))
            if not sequence.is_new(event):
                continue
            numbers.append(event["seq"])
            accepted += event.get("what") == "accepted"
            if event["seq"] == publisher.published:
                break
    assert numbers == list(range(1, publisher.published + 1))
    assert accepted == 5
    assert sequence.lost == 0
    assert publisher.connections == 2
    assert publisher.dropped == 0
    await publisher.close()


async def drained(publisher: Publisher) -> None:
    """Wait until the broker has all events."""
    async with asyncio.timeout(20):
        while publisher._events or not publisher.connected:
            await asyncio.sleep(0.01)


async def test_an_order_that_comes_twice_is_carried_out_once(broker: Mosquitto, server: Server) -> None:
    agent = Agent(Broker.parse(broker.url), "one")
    task = asyncio.ensure_future(agent.run())
    ports = {"smtp": server.addresses["smtp"][1]}
    plan = Plan("run7", "submit", "127.0.0.1", ports, clients=1, seconds=0.2)
    order = {"run": "run7", "agents": ["one"], "plan": asdict(plan)}
    async with Listener(broker.url) as listener, Broker.parse(broker.url).client("boss") as boss:
        await listener.until("lab/agents/one", lambda value: value["state"] == "idle")
        for _ in range(2):
            await boss.publish("lab/swarm/run7/prepare", json.dumps(order), qos=1)
            await listener.until("lab/swarm/run7/ready", lambda value: value["agent"] == "one")
            await boss.publish("lab/swarm/run7/go", '{"run": "run7"}', qos=1)
        await listener.until("lab/swarm/run7/result", lambda value: value["agent"] == "one")
        await boss.publish("lab/swarm/run8/prepare", json.dumps({**order, "run": "run8", "plan": {}}), qos=1)
        await listener.until("lab/swarm/run8/ready", lambda value: "problem" in value)
        assert len(listener.seen["lab/swarm/run7/result"]) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_result_outlives_the_broker(broker: Mosquitto, server: Server) -> None:
    agent = Agent(Broker.parse(broker.url), "one")
    task = asyncio.ensure_future(agent.run())
    plan = Plan("run9", "submit", "127.0.0.1", {"smtp": server.addresses["smtp"][1]}, clients=1, seconds=1.0)
    order = {"run": "run9", "agents": ["one"], "plan": asdict(plan)}
    async with Listener(broker.url) as listener, Broker.parse(broker.url).client("boss") as boss:
        await listener.until("lab/agents/one", lambda value: value["state"] == "idle")
        await boss.publish("lab/swarm/run9/prepare", json.dumps(order), qos=1)
        await listener.until("lab/swarm/run9/ready", lambda value: value["agent"] == "one")
        await boss.publish("lab/swarm/run9/go", '{"run": "run9"}', qos=1)
        async with asyncio.timeout(15):
            while server.inbound.accepted_count == 0:
                await asyncio.sleep(0.01)
    await broker.stop()
    async with asyncio.timeout(20):
        while not agent._results:
            await asyncio.sleep(0.01)
    await broker.start()
    async with Listener(broker.url) as listener:
        async with asyncio.timeout(20):
            while agent._unsent:
                await asyncio.sleep(0.01)
        del listener
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_swarm_survives_a_restart_of_the_broker(broker: Mosquitto, server: Server, forgets: bool) -> None:
    agents = [Agent(Broker.parse(broker.url), f"agent-{number}") for number in range(2)]
    tasks = [asyncio.ensure_future(agent.run()) for agent in agents]
    plan = Plan("run5", "submit", "127.0.0.1", {"smtp": server.addresses["smtp"][1]}, clients=2, seconds=1.0)
    swarm = Swarm(Broker.parse(broker.url), plan, 2, gather_seconds_max=30)
    running = asyncio.ensure_future(swarm.run())
    async with asyncio.timeout(30):
        while server.inbound.accepted_count == 0:
            await asyncio.sleep(0.01)
    await broker.stop()
    if forgets:
        broker.forget()
    async with asyncio.timeout(30):
        while not all(agent._results for agent in agents):
            await asyncio.sleep(0.01)
    await broker.start()
    total = await running
    assert swarm.lost == []
    assert sorted(swarm.results) == ["agent-0", "agent-1"]
    assert total.latencies["smtp message"].total == server.inbound.accepted_count
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_swarm_without_a_broker_says_so(broker: Mosquitto) -> None:
    await broker.stop()
    plan = Plan("run6", "submit", "127.0.0.1", {"smtp": 25})
    with pytest.raises(SettingsError, match="no broker at 127"):
        await Swarm(Broker.parse(broker.url), plan, 1).run()


async def test_swarm_adds_up_and_survives_a_dead_agent(
    broker: Mosquitto, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.swarm.GONE_SECONDS", 1.0)
    agents = [Agent(Broker.parse(broker.url), f"agent-{number}") for number in range(2)]
    tasks = [asyncio.ensure_future(agent.run()) for agent in agents]
    dying = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "harness.cli", "agent", "--mqtt", broker.url, "--name", "agent-dying"),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert dying.stdout is not None
    await dying.stdout.readline()
    ports = {name: server.addresses[name][1] for name in ("smtp", "pop3", "imap", "nntp")}
    plan = Plan("run1", "mixed", "127.0.0.1", ports, clients=4, seconds=2.0)
    swarm = Swarm(Broker.parse(broker.url), plan, 3, gather_seconds_max=15)
    running = asyncio.ensure_future(swarm.run())
    async with asyncio.timeout(20):
        while server.inbound.accepted_count == 0:
            await asyncio.sleep(0.01)
    dying.kill()
    total = await running
    await dying.wait()
    assert swarm.lost == ["agent-dying"]
    assert sorted(swarm.results) == ["agent-0", "agent-1"]
    assert {"smtp message", "imap fetch", "nntp post"} <= set(total.latencies)
    assert total.latencies["smtp message"].total == sum(
        result.latencies["smtp message"].total for result in swarm.results.values()
    )
    assert total.hung == 0, total.lines()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_they_end_though_the_broker_is_away(broker: Mosquitto, server: Server) -> None:
    agent, publisher = Agent(Broker.parse(broker.url), "one"), Publisher(server, Broker.parse(broker.url))
    task = asyncio.ensure_future(agent.run())
    publisher.start()
    async with Listener(broker.url) as listener:
        await listener.until("lab/agents/one", lambda value: value["state"] == "idle")
        await listener.until("lab/status", lambda value: value == "online")
    await broker.stop()
    task.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(task, publisher.close(), return_exceptions=True)
    assert task.cancelled()
