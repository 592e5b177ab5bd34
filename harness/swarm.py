"""Load from many machines: agents wait at a broker; a swarm starts them at one instant and adds up what they saw.

    mailjam agent --mqtt mqtt://broker/lab                            on each machine
    mailjam swarm mixed --mqtt mqtt://broker/lab --agents 3 --target mail.example:1025,1110,1143,1119

An agent says `idle` below PREFIX/agents/ID (retained; its last will says `gone`). A run goes prepare → ready → go →
result. An agent that dies is taken out of the sum, named, and waited for no more. Orders are repeated until they are
answered and results until they are heard, so that a run survives a restart of the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from emulator.config import SettingsError

from .clients import ImapClient, NntpClient, Pop3Client, Refused, SmtpClient
from .histogram import Histogram
from .mqtt import Broker, will_of

if TYPE_CHECKING:
    import aiomqtt

SCENARIOS: dict[str, tuple[str, ...]] = {
    "mixed": ("smtp", "pop3", "imap", "nntp"),
    "submit": ("smtp",),
    "read": ("pop3", "imap"),
    "news": ("nntp",),
    "jam": ("smtp", "imap"),
}
"""What each scenario does; `jam` is delivery and reading at once, which Q279798 needs."""
CLIENTS_MAX = 2000
RUN_SECONDS_MAX = 3600.0
PAYLOAD_OCTETS_MAX = 1 << 20
PREPARE_SECONDS_MAX = 30.0
REPEAT_SECONDS = 1.0
"""How often an order is repeated to those who have not answered it."""
RECONNECT_SECONDS = 0.5
GONE_SECONDS = 5.0
"""An agent that is away for so long is dead."""
PUBLISH_SECONDS_MAX = 2.0
"""How long the broker may take to acknowledge: an agent that waits for one that went must be back before it is dead."""
BROKER_AWAY_SECONDS_MAX = 120.0
RUNS_REMEMBERED_MAX = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What every agent of a run does."""

    run: str
    scenario: str
    host: str
    ports: dict[str, int]
    clients: int = 8
    seconds: float = 10.0
    seed: int = 1
    hung_seconds: float = 10.0
    """A reply that takes longer counts as hung."""
    user: str = "swarm"
    password: str = "swarm"  # noqa: S105  # of an account for tests
    group: str = "misc.test"

    def check(self) -> None:
        """Raises SettingsError."""
        if self.scenario not in SCENARIOS:
            raise SettingsError(f"no scenario {self.scenario!r}: there are {', '.join(SCENARIOS)}")
        if not 1 <= self.clients <= CLIENTS_MAX or not 0 < self.seconds <= RUN_SECONDS_MAX:
            raise SettingsError(f"1 to {CLIENTS_MAX} clients, up to {RUN_SECONDS_MAX:g} seconds")
        missing = [name for name in SCENARIOS[self.scenario] if name not in self.ports]
        if missing:
            raise SettingsError(
                f"scenario {self.scenario} needs the port of {missing[0]}: --target HOST:SMTP,POP3,IMAP,NNTP"
            )


@dataclass(slots=True)
class Result:
    """What one agent saw, or all together."""

    latencies: dict[str, Histogram] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    hung: int = 0
    seconds: float = 0.0

    def add(self, kind: str, seconds: float) -> None:
        """One operation was done."""
        self.latencies.setdefault(kind, Histogram()).add(seconds)

    def merge(self, other: Result) -> None:
        """Add what another agent saw."""
        for kind, histogram in other.latencies.items():
            self.latencies.setdefault(kind, Histogram()).merge(histogram)
        self.problems.update(other.problems)
        self.hung += other.hung
        self.seconds = max(self.seconds, other.seconds)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "latencies": {kind: histogram.as_dict() for kind, histogram in self.latencies.items()},
            "problems": dict(self.problems.most_common(50)),
            "hung": self.hung,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Result:
        """Raises ValueError, KeyError, TypeError, AttributeError."""
        made = cls(hung=int(values["hung"]), seconds=float(values["seconds"]))
        made.latencies = {str(kind): Histogram.from_dict(one) for kind, one in values["latencies"].items()}
        made.problems = Counter({str(text)[:300]: int(count) for text, count in values["problems"].items()})
        return made

    def lines(self) -> list[str]:
        """A table for people."""
        found = [f"{'':16}{'count':>9}{'per s':>10}{'median ms':>11}{'p99 ms':>10}{'longest ms':>12}"]
        for kind, one in sorted(self.latencies.items()):
            rate = one.total / self.seconds if self.seconds else 0.0
            times = (one.quantile(0.5) * 1000, one.quantile(0.99) * 1000, one.longest * 1000)
            found.append(f"{kind:16}{one.total:>9}{rate:>10.1f}{times[0]:>11.2f}{times[1]:>10.2f}{times[2]:>12.2f}")
        found += [f"{count} x {text}" for text, count in self.problems.most_common(10)]
        found.append(f"hung: {self.hung}" if self.hung else "nothing hung")
        return found


# --- the work of an agent -------------------------------------------------------------------------------------------


async def work(plan: Plan, agent_number: int) -> Result:
    """Run the plan's clients until its time is up."""
    result = Result()
    began = time.monotonic()
    deadline = began + plan.seconds
    kinds = SCENARIOS[plan.scenario]
    tasks = []
    async with asyncio.TaskGroup() as group:
        for number in range(plan.clients):
            draw = random.Random(f"{plan.seed}/{agent_number}/{number}")  # noqa: S311  # traffic, not secrets
            talk = _TALKS[kinds[number % len(kinds)]]
            tasks.append(group.create_task(_client(plan, talk, draw, result, deadline)))
    result.seconds = time.monotonic() - began
    return result


Talk = Callable[[Plan, random.Random, Result, float], Awaitable[None]]


async def _client(plan: Plan, talk: Talk, draw: random.Random, result: Result, deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            await talk(plan, draw, result, deadline)
        except TimeoutError:
            result.hung += 1
            return
        except (OSError, Refused, asyncio.IncompleteReadError) as problem:
            result.problems[f"{type(problem).__name__}: {problem}"[:200]] += 1
            await asyncio.sleep(min(0.2, max(0.0, deadline - time.monotonic())))


async def _timed(result: Result, kind: str, action: Awaitable[Any]) -> Any:
    began = time.monotonic()
    value = await action
    result.add(kind, time.monotonic() - began)
    return value


def _message(plan: Plan, draw: random.Random, extra: str = "") -> bytes:
    body = "".join(f"{draw.getrandbits(200):x}\r\n" for _ in range(draw.randrange(1, 40)))
    return (
        f"From: swarm@mailjam.test\r\nTo: {plan.user}@mailjam.test\r\n{extra}Subject: {plan.run}\r\n"
        f"Message-ID: <{secrets.token_hex(12)}@swarm.test>\r\n\r\n{body}"
    ).encode()


async def _smtp(plan: Plan, draw: random.Random, result: Result, deadline: float) -> None:
    async with await SmtpClient.connect((plan.host, plan.ports["smtp"]), seconds_max=plan.hung_seconds) as client:
        await client.hello()
        for _ in range(draw.randrange(1, 10)):
            sending = client.send("swarm@mailjam.test", [f"{plan.user}@mailjam.test"], _message(plan, draw))
            await _timed(result, "smtp message", sending)
            if time.monotonic() > deadline:
                break


async def _pop3(plan: Plan, draw: random.Random, result: Result, deadline: float) -> None:
    async with await Pop3Client.connect((plan.host, plan.ports["pop3"]), seconds_max=plan.hung_seconds) as client:
        try:
            await _timed(result, "pop3 login", client.login(plan.user, plan.password))
        except Refused as refused:
            if "IN-USE" not in str(refused):
                raise
            await asyncio.sleep(0.01)  # another client of the swarm has the maildrop
            return
        count = int((await client.command("STAT")).split()[1])
        for number in range(max(1, count - 4), count + 1):
            await _timed(result, "pop3 retrieve", client.retrieve(number))
        await client.command("QUIT")


async def _imap(plan: Plan, draw: random.Random, result: Result, deadline: float) -> None:
    async with await ImapClient.connect((plan.host, plan.ports["imap"]), seconds_max=plan.hung_seconds) as client:
        await _timed(result, "imap login", client.login(plan.user, plan.password))
        count = 0
        for response in await client.command("SELECT INBOX"):
            if response.endswith(b" EXISTS"):
                count = int(response.split()[1])
        for number in range(max(1, count - 4), count + 1):
            await _timed(result, "imap fetch", client.fetch_body(number))


async def _nntp(plan: Plan, draw: random.Random, result: Result, deadline: float) -> None:
    async with await NntpClient.connect((plan.host, plan.ports["nntp"]), seconds_max=plan.hung_seconds) as client:
        await _timed(result, "nntp post", client.post(_message(plan, draw, f"Newsgroups: {plan.group}\r\n")))
        last = int((await client.command(f"GROUP {plan.group}", 211)).split()[3])
        for number in range(max(1, last - 4), last + 1):
            await _timed(result, "nntp article", client.article(str(number)))


_TALKS: dict[str, Talk] = {"smtp": _smtp, "pop3": _pop3, "imap": _imap, "nntp": _nntp}


# --- an agent ---------------------------------------------------------------------------------------------------------


def _decoded(message: aiomqtt.Message) -> Any:
    payload = message.payload
    octets = payload if isinstance(payload, bytes | bytearray) else str(payload or "").encode()
    if len(octets) > PAYLOAD_OCTETS_MAX:
        return None
    try:
        return json.loads(octets)
    except (ValueError, RecursionError):
        return None


class Agent:
    """Waits at the broker for runs; comes back when the broker does. Orders may come twice: they are done once."""

    def __init__(self, broker: Broker, name: str = "") -> None:
        self._broker = broker
        self.name = name or f"{socket.gethostname().partition('.')[0]}-{os.getpid()}-{secrets.token_hex(2)}"
        self._plans: dict[str, tuple[Plan, int]] = {}
        self._begun: deque[str] = deque(maxlen=RUNS_REMEMBERED_MAX)
        self._results: dict[str, str] = {}
        """The texts of results by run: told again to whoever missed them."""
        self._unsent: list[str] = []
        """Runs whose results are to be told."""
        self._client: aiomqtt.Client | None = None
        self._sending = asyncio.Lock()
        self._work: asyncio.Task[None] | None = None
        self._busy_with = ""

    async def run(self) -> None:
        """Serve runs until cancelled."""
        from aiomqtt import MqttError  # noqa: PLC0415  # an extra

        try:
            while True:
                try:
                    await self._serve()
                except (MqttError, OSError):
                    await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            if self._work is not None:
                self._work.cancel()

    async def _serve(self) -> None:
        from aiomqtt import MqttError  # noqa: PLC0415  # an extra

        prefix, topic = self._broker.prefix, f"{self._broker.prefix}/agents/{self.name}"
        async with self._broker.client(f"agent-{self.name}", will_of(topic, '{"state": "gone"}')) as client:
            await client.subscribe(f"{prefix}/swarm/+/prepare", qos=1)
            await client.subscribe(f"{prefix}/swarm/+/go", qos=1)
            self._client = client
            try:
                await self._tell()
                async for message in client.messages:
                    value = _decoded(message)
                    if isinstance(value, dict):
                        await self._hear(client, str(message.topic).rsplit("/", 1)[1], value)
            except asyncio.CancelledError:
                with contextlib.suppress(MqttError, TimeoutError):  # the broker may be away; we end all the same
                    async with asyncio.timeout(2):
                        await client.publish(topic, '{"state": "gone"}', qos=1, retain=True)
                raise
            finally:
                self._client = None

    async def _tell(self) -> None:
        """Publish the state and what is unsent, if the broker is there; if not, it is done when it comes back."""
        from aiomqtt import MqttError  # noqa: PLC0415  # an extra

        async with self._sending:
            client, prefix = self._client, self._broker.prefix
            if client is None:
                return
            state = {"state": "busy", "run": self._busy_with} if self._busy_with else {"state": "idle"}
            try:
                await client.publish(
                    f"{prefix}/agents/{self.name}", json.dumps(state), qos=1, retain=True, timeout=PUBLISH_SECONDS_MAX
                )
                while self._unsent:
                    run = self._unsent[0]
                    await client.publish(
                        f"{prefix}/swarm/{run}/result", self._results[run], qos=1, timeout=PUBLISH_SECONDS_MAX
                    )
                    self._unsent.pop(0)
            except MqttError:
                pass

    async def _hear(self, client: aiomqtt.Client, what: str, value: dict[str, Any]) -> None:
        run = str(value.get("run"))
        if what == "prepare":
            await self._prepare(client, run, value)
        elif what == "go" and run in self._results and self.name in (value.get("missing") or ()):
            if run not in self._unsent:
                self._unsent.append(run)
            await self._tell()
        elif what == "go" and run in self._plans and not self._busy_with:
            plan, number = self._plans.pop(run)
            self._begun.append(run)
            self._busy_with = run
            self._work = asyncio.get_running_loop().create_task(self._carry_out(plan, number))
            await self._tell()

    async def _prepare(self, client: aiomqtt.Client, run: str, value: dict[str, Any]) -> None:
        agents = value.get("agents")
        if not isinstance(agents, list) or self.name not in agents or run in self._begun:
            return
        answer = {"agent": self.name}
        try:
            plan = Plan(**value["plan"])
            plan.check()
            self._plans = {plan.run: (plan, agents.index(self.name))}
        except (TypeError, KeyError, SettingsError) as problem:
            answer["problem"] = str(problem)
        await client.publish(
            f"{self._broker.prefix}/swarm/{run}/ready", json.dumps(answer), qos=1, timeout=PUBLISH_SECONDS_MAX
        )

    async def _carry_out(self, plan: Plan, number: int) -> None:
        """Beside the connection, which may end meanwhile."""
        result = await work(plan, number)
        self._results[plan.run] = json.dumps({"agent": self.name, **result.as_dict()})
        if len(self._results) > RUNS_REMEMBERED_MAX:
            del self._results[next(iter(self._results))]
        self._unsent = [run for run in self._unsent if run in self._results] + [plan.run]
        self._busy_with = ""
        await self._tell()


# --- the swarm --------------------------------------------------------------------------------------------------------


def _edges(cycle: Any) -> str:
    """A cycle as its publisher tells it, in a line."""
    if not isinstance(cycle, list) or not all(isinstance(edge, dict) for edge in cycle):
        return "a cycle"
    edges = (f"{e.get('waiter')} waits for {e.get('section')}, held by {e.get('owner')}" for e in cycle[:20])
    return "; ".join(edges)


class Swarm:
    """One run, seen from whoever started it."""

    def __init__(self, broker: Broker, plan: Plan, agents: int, *, gather_seconds_max: float = 30.0) -> None:
        plan.check()
        self._broker = broker
        self.plan = plan
        self._wanted = agents
        self._gather_seconds_max = gather_seconds_max
        self._client: aiomqtt.Client | None = None
        self._connected = asyncio.Event()
        self._connections = 0
        self._states: dict[str, str] = {}
        self._gone_at: dict[str, float] = {}
        """When agents went: some come back, as after a restart of the broker."""
        self._ready: set[str] = set()
        self._unfit: set[str] = set()
        """Agents that refuse the plan, or whose result cannot be read."""
        self._changed = asyncio.Event()
        self.chosen: list[str] = []
        self.results: dict[str, Result] = {}
        self.lost: list[str] = []
        """Agents that died during the run."""
        self.jams: list[str] = []
        """Jams of the target that it told of at the same broker, below the same prefix."""

    async def run(self) -> Result:
        """Gather agents, start them at one instant, add up. The broker may go away meanwhile, if it comes back.

        Raises SettingsError when there are not enough agents, or no broker.
        """
        loop = asyncio.get_running_loop()
        connecting, leading = loop.create_task(self._stay_connected()), loop.create_task(self._lead())
        try:
            await asyncio.wait((connecting, leading), return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
            return await leading
        finally:
            for task in (connecting, leading):
                task.cancel()
            await asyncio.gather(connecting, leading, return_exceptions=True)

    async def _stay_connected(self) -> None:
        from aiomqtt import MqttError  # noqa: PLC0415  # an extra

        prefix, run = self._broker.prefix, self.plan.run
        while True:
            try:
                async with self._broker.client(f"swarm-{run}") as client:
                    for topic in ("agents/+", "state/jam", f"swarm/{run}/ready", f"swarm/{run}/result"):
                        await client.subscribe(f"{prefix}/{topic}", qos=1)
                    self._client = client
                    self._connections += 1
                    self._connected.set()
                    await self._listen(client)
            except (MqttError, OSError) as problem:
                if not self._connections:
                    place = f"{self._broker.host}:{self._broker.port}"
                    raise SettingsError(f"no broker at {place} (--mqtt): {problem}") from None
            finally:
                self._connected.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _order(self, what: str, value: dict[str, Any]) -> None:
        """Publish, when the broker is there. Raises SettingsError when it stays away."""
        from aiomqtt import MqttError  # noqa: PLC0415  # an extra

        text = json.dumps({"run": self.plan.run, **value})
        try:
            async with asyncio.timeout(BROKER_AWAY_SECONDS_MAX):
                while True:
                    await self._connected.wait()
                    assert self._client is not None
                    try:
                        await self._client.publish(
                            f"{self._broker.prefix}/swarm/{self.plan.run}/{what}",
                            text,
                            qos=1,
                            timeout=PUBLISH_SECONDS_MAX,
                        )
                    except MqttError:
                        await asyncio.sleep(RECONNECT_SECONDS)
                    else:
                        return
        except TimeoutError:
            raise SettingsError(f"the broker stayed away for {BROKER_AWAY_SECONDS_MAX:g} s") from None

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            parts, value = str(message.topic).split("/"), _decoded(message)
            if isinstance(value, dict):
                self._hear(parts, value)
                self._changed.set()

    def _hear(self, parts: list[str], value: dict[str, Any]) -> None:
        if parts[-2] == "agents":
            self._states[parts[-1]] = str(value.get("state"))
            if value.get("state") == "gone":
                self._gone_at.setdefault(parts[-1], time.monotonic())
            else:
                self._gone_at.pop(parts[-1], None)
        elif parts[-2:] == ["state", "jam"]:
            if value.get("jammed") and self.chosen:
                self.jams += [text for text in map(_edges, value.get("cycles") or ()) if text not in self.jams]
        elif parts[-1] == "ready":
            (self._unfit if "problem" in value else self._ready).add(str(value.get("agent")))
        elif parts[-1] == "result":
            try:
                self.results[str(value["agent"])] = Result.from_dict(value)
            except (ValueError, KeyError, TypeError, AttributeError):
                self._unfit.add(str(value.get("agent")))

    def _missing(self, there: Collection[str]) -> list[str]:
        """Agents of the run that are not there yet, and not dead: gone, and not back for a while."""
        now = time.monotonic()
        dead = {name for name, then in self._gone_at.items() if now - then >= GONE_SECONDS} | self._unfit
        return [name for name in self.chosen if name not in there and name not in dead]

    async def _until(
        self, condition: Callable[[], bool], seconds: float, order: Callable[[], Awaitable[None]] | None = None
    ) -> bool:
        """Wait; the order is repeated meanwhile, for the broker may have lost it. Its absence does not count."""
        left, first = seconds, True
        while not condition():
            if left <= 0:
                return False
            if order is not None and (first or not self._changed.is_set()):
                await order()
            first = False
            self._changed.clear()
            began = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(REPEAT_SECONDS, left)):
                    await self._changed.wait()
            left -= time.monotonic() - began
        return True

    def _idle(self) -> list[str]:
        return sorted(name for name, state in self._states.items() if state == "idle")

    async def _lead(self) -> Result:
        await self._connected.wait()
        if not await self._until(lambda: len(self._idle()) >= self._wanted, self._gather_seconds_max):
            raise SettingsError(
                f"{len(self._idle())} of {self._wanted} agents are at the broker: start more (`mailjam agent --mqtt …`)"
            )
        self.chosen = self._idle()[: self._wanted]
        plan = {"agents": self.chosen, "plan": asdict(self.plan)}
        await self._until(
            lambda: not self._missing(self._ready), PREPARE_SECONDS_MAX, lambda: self._order("prepare", plan)
        )
        if not self._ready:
            raise SettingsError("no agent took the plan: are they of this version?")
        await self._until(
            lambda: not self._missing(self.results),
            self.plan.seconds + self.plan.hung_seconds + 10,
            lambda: self._order("go", {"missing": self._missing(self.results)}),
        )
        self.lost = [name for name in self.chosen if name not in self.results]
        total = Result()
        for result in self.results.values():
            total.merge(result)
        return total


# --- the command line -------------------------------------------------------------------------------------------------


def agent_parser(subparsers: Any) -> argparse.ArgumentParser:
    """`mailjam agent`."""
    parser: argparse.ArgumentParser = subparsers.add_parser("agent", help="wait at a broker for runs of a swarm")
    parser.add_argument("--mqtt", required=True, metavar="URL", help="mqtt://HOST:1883/prefix")
    parser.add_argument("--name", default="", help="name of this agent (host, process and a random part)")
    parser.set_defaults(run=_run_agent)
    return parser


def _run_agent(arguments: argparse.Namespace) -> int:
    broker = Broker.parse(arguments.mqtt)
    broker.check_library()
    agent = Agent(broker, arguments.name)
    print(f"agent {agent.name} waits at {broker.host}:{broker.port}/{broker.prefix}", flush=True)
    asyncio.run(agent.run())
    return 0


def swarm_parser(subparsers: Any) -> argparse.ArgumentParser:
    """`mailjam swarm`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "swarm", help="start agents at one instant, add up latencies"
    )
    add = parser.add_argument
    add("scenario", choices=sorted(SCENARIOS))
    add("--mqtt", required=True, metavar="URL", help="mqtt://HOST:1883/prefix")
    add("--agents", type=int, default=1, help="how many (%(default)s)")
    add("--target", default="127.0.0.1:1025,1110,1143,1119", help="HOST:SMTP,POP3,IMAP,NNTP (%(default)s)")
    add("--clients", type=int, default=8, help="of each agent (%(default)s)")
    add("--seconds", type=float, default=10.0, help="(%(default)s)")
    add("--seed", type=int, default=1, help="(%(default)s)")
    add("--login", default="swarm:swarm", metavar="NAME:PASSWORD", help="an account of the target (%(default)s)")
    parser.set_defaults(run=_run_swarm)
    return parser


def parse_target(text: str) -> tuple[str, dict[str, int]]:
    """`HOST:SMTP,POP3,IMAP,NNTP`; a port that is left out is not used. Raises SettingsError."""
    host, _, ports = text.rpartition(":")
    found = {}
    for name, port in zip(("smtp", "pop3", "imap", "nntp"), ports.split(","), strict=False):
        if port:
            if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
                raise SettingsError(
                    f"--target {text!r}: write HOST:SMTP,POP3,IMAP,NNTP, as in mail:1025,1110,1143,1119"
                )
            found[name] = int(port)
    return host.strip("[]") or "127.0.0.1", found


def _run_swarm(arguments: argparse.Namespace) -> int:
    host, ports = parse_target(arguments.target)
    user, _, password = arguments.login.partition(":")
    plan = Plan(
        secrets.token_hex(4),
        arguments.scenario,
        host,
        ports,
        arguments.clients,
        arguments.seconds,
        arguments.seed,
        user=user,
        password=password,
    )
    Broker.check_library()
    swarm = Swarm(Broker.parse(arguments.mqtt), plan, arguments.agents)
    total = asyncio.run(swarm.run())
    for jam in swarm.jams:
        print(f"JAMMED: {jam}")
    print("\n".join(total.lines()))
    if swarm.lost:
        print(f"died: {', '.join(swarm.lost)}")
    return 1 if total.hung or swarm.lost else 0
