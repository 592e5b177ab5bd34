"""The IMAIL conversion stage: the one file that takes two critical sections.

Every message passes it twice: inbound (MIME → property message → store) and outbound (store → property message → MIME).
In which order a path enters its sections is the build's (`builds.Build.order`), and so is what else goes wrong in it:
which errors leave the sections held, which messages it cannot stomach (emulator.poison), what is called from inside.
Conversion runs on the task of whoever needs it, as in the original, where it ran on the protocol's or RPC's thread
(KB Q275714, Q268380). Points: `inbound.imail.wanted`, `.held`, `.leaving` and the like, `inbound.read`,
`inbound.convert`, `inbound.append`, `outbound.read`, `outbound.emit`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocols.actor import current_actor
from protocols.ports import NoSuchMessage, Target, Unavailable

from . import imail
from .builds import Build
from .folder import Message
from .poison import StoreFault, stomach
from .scheduling import Point, Scheduler
from .sections import Passage, Sections

if TYPE_CHECKING:
    from protocols.mime.structure import Part

    from .config import Settings
    from .content import Content
    from .directory import Directory
    from .properties import PropertyMessage
    from .spool import Envelope
    from .store import Store

INBOUND_READ = Point("inbound.read", "read", "spool")
INBOUND_CONVERT = Point("inbound.convert")
INBOUND_APPEND = Point("inbound.append", "write", "store")
OUTBOUND_READ = Point("outbound.read", "read", "store")
OUTBOUND_EMIT = Point("outbound.emit")
NOTIFICATION_READ = Point("notification.read", "read", "directory")
REPORT_BUILD = Point("report.build")
GATEWAY_CONVERT = Point("gateway.convert")


@dataclass(frozen=True, slots=True)
class SiteAddressing:
    """What the conversion stage derives from the directory (site addressing, SMTP domains): its serialized copy."""

    serial: int
    domains: tuple[str, ...]
    users: int


class Converter:
    """Conversions, and the cache of converted messages. Front-ends see it as `protocols.ports.Conversion`."""

    def __init__(
        self, settings: Settings, build: Build, sections: Sections, scheduler: Scheduler, store: Store
    ) -> None:
        self._use(build)
        self.sections = sections
        self.inbound_count = 0
        self.outbound_count = 0
        self.site_addressing = SiteAddressing(0, settings.domains, 0)
        self.faulted: Callable[[str], None] = lambda reason: None
        """Called when the conversion ends the process of the information store (an access violation)."""
        self._settings = settings
        self._scheduler = scheduler
        self._store = store
        self._derived: deque[Content] = deque()
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()
        self._cache_octets = 0

    @property
    def build(self) -> Build:
        """The level that is emulated; conversions that begin after it was exchanged are the new one's."""
        return self._build

    @build.setter
    def build(self, build: Build) -> None:
        self._use(build)

    def _use(self, build: Build) -> None:
        self._build = build
        self._paths = build.paths
        self._poisons = build.poisons
        self._calls_inside = build.holds_over_calls("gateway")

    def _path(self, path: str) -> Passage:
        return self.sections.path(path, *self._paths[path])

    async def _stomach(self, path: str, octets: bytes, part: Part) -> None:
        """What the conversions of some builds do with some messages (emulator.poison)."""
        try:
            await stomach(self._poisons[path], current_actor.get().kind, octets, part, self._scheduler)
        except StoreFault as fault:
            self.faulted(str(fault))
            raise

    # --- inbound ------------------------------------------------------------------------------------------------------

    async def put(self, octets: bytes, targets: Sequence[Target], spool_name: str | None = None) -> list[Any]:
        """Convert on the caller's task and append to all targets: the new messages, in order.

        `spool_name`: remember in the same commit that this spool file was delivered.
        """
        return (await self.put_all([(octets, targets)], spool_name))[0]

    async def put_all(
        self, items: Sequence[tuple[bytes, Sequence[Target]]], spool_name: str | None = None
    ) -> list[list[Any]]:
        """As `put`, for several messages, all or none."""
        converted = [(await self._inbound(octets), targets) for octets, targets in items]
        await self._scheduler.reach(INBOUND_APPEND)
        return await self._store.append(converted, spool_name=spool_name)

    async def take_in(
        self,
        read: Callable[[], Awaitable[tuple[Envelope, bytes]]],
        resolve: Callable[[Envelope], Awaitable[Sequence[Target]]],
        trace: Callable[[Envelope], bytes],
    ) -> tuple[Content, Sequence[Target]]:
        """The inbound worker's path: the spool file is read inside the section and converted. `append` is next.

        `trace` gives the fields that final delivery prepends (Return-Path). Raises whatever `read` and `resolve` raise.
        """
        async with self._path("inbound"):
            await self._scheduler.reach(INBOUND_READ)
            envelope, octets = await read()
            content = await self._convert(trace(envelope) + octets)
        targets = await resolve(envelope)
        await self._scheduler.reach(INBOUND_APPEND)
        return content, targets

    async def append(
        self, content: Content, targets: Sequence[Target], spool_name: str, *, spool_file: bool
    ) -> list[Message]:
        """Put what was taken in into mailboxes; `spool_file`: whether there is one to be remembered as delivered.

        Raises OverQuota, NoSuchMailbox, Unavailable.
        """
        return (await self._store.append([(content, targets)], spool_name=spool_name, spool_file=spool_file))[0]

    def hand_over(
        self,
        content: Content,
        targets: Sequence[Target],
        spool_name: str,
        done: Callable[[Sequence[Message], Unavailable | None], None],
        *,
        spool_file: bool,
    ) -> None:
        """As `append`, for a worker that goes on meanwhile: `done` is told. Raises OverQuota, NoSuchMailbox."""
        self._store.hand_over(content, targets, done, spool_name=spool_name, spool_file=spool_file)

    async def _inbound(self, octets: bytes) -> Content:
        async with self._path("inbound"):
            return await self._convert(octets)

    async def _convert(self, octets: bytes) -> Content:
        await self._scheduler.reach(INBOUND_CONVERT)
        message = imail.inbound(octets)
        if self._poisons["inbound"]:
            await self._stomach("inbound", octets, message.structure)
        self.inbound_count += 1
        return self._store.content_of(message, octets)

    # --- outbound -----------------------------------------------------------------------------------------------------

    async def octets(self, message: Message) -> bytes:
        """The message as MIME. Raises NoSuchMessage, Unavailable."""
        digest = message.content.digest
        octets = self._cache.get(digest)
        if octets is not None:
            self._cache.move_to_end(digest)
            return octets
        async with self._path("outbound"):
            await self._scheduler.reach(OUTBOUND_READ)
            if message.expunged and message.content.references <= 0:
                raise NoSuchMessage("the message has been expunged")
            properties = await self._store.read(message)
            await self._scheduler.reach(OUTBOUND_EMIT)
            if self._poisons["outbound"]:
                await self._stomach("outbound", properties.octets, properties.structure)
            octets = imail.outbound(properties)
            self.outbound_count += 1
        self._keep(digest, octets)
        return octets

    def _keep(self, digest: bytes, octets: bytes) -> None:
        if len(octets) > self._settings.outbound_cache_bytes_max:
            return
        previous = self._cache.get(digest)
        self._cache_octets += len(octets) - (len(previous) if previous is not None else 0)
        self._cache[digest] = octets
        while self._cache_octets > self._settings.outbound_cache_bytes_max:
            _, dropped = self._cache.popitem(last=False)
            self._cache_octets -= len(dropped)

    def forget_converted(self) -> None:
        """Empty the cache: the next reads convert again."""
        self._cache.clear()
        self._cache_octets = 0

    # --- reading without conversion -----------------------------------------------------------------------------------

    async def structure(self, message: Message) -> tuple[bytes, Part]:
        """Octets and MIME structure as inbound conversion found them. Takes no section."""
        properties = await self._store.read(message)
        return properties.octets, properties.structure

    async def derive(self, message: Message, key: str, compute: Callable[[bytes, Part], Any]) -> Any:
        """A value computed from the structure, kept on the content."""
        derived = message.content.derived
        try:
            return derived[key]
        except KeyError:
            octets, part = await self.structure(message)
            value = compute(octets, part)
            if not derived:
                self._remember_derived(message.content)
            derived[key] = value
            return value

    def _remember_derived(self, content: Content) -> None:
        """Computed values of so many contents are kept; those of the oldest are dropped, to be computed again."""
        self._derived.append(content)
        if len(self._derived) > self._settings.derived_cache_messages_max:
            self._derived.popleft().derived.clear()

    # --- the other actors ---------------------------------------------------------------------------------------------

    async def notification(self, directory: Directory) -> None:
        """The directory-notification thread: rebuild what derives from the directory (KB Q268357, Q274403)."""
        async with self._path("notification"):
            await self._scheduler.reach(NOTIFICATION_READ)
            self.site_addressing = SiteAddressing(directory.serial, self._settings.domains, len(directory.users))

    async def report(self, build_report: Callable[[], bytes], targets: Sequence[Target]) -> list[Message]:
        """Generate a delivery report and put it into mailboxes: the path of KB Q295969 (defect C)."""
        async with self._path("report"):
            await self._scheduler.reach(REPORT_BUILD)
            octets = build_report()
            content = self._store.content_of(imail.inbound(octets), octets)
        await self._scheduler.reach(INBOUND_APPEND)
        return (await self._store.append([(content, targets)]))[0]

    async def generate_report(self, build_report: Callable[[], bytes]) -> bytes:
        """Generate a delivery report that goes on its own way: the sections of `report`, without mailboxes."""
        async with self._path("report"):
            await self._scheduler.reach(REPORT_BUILD)
            return imail.outbound(imail.inbound(build_report()))

    async def gateway_outbound(
        self, octets: bytes, hand_over: Callable[[PropertyMessage], Awaitable[None]]
    ) -> PropertyMessage:
        """MTS-OUT → gateway: the property message, which `hand_over` gives to the connector.

        That is a call to another system, made when the sections have been left (by builds with KB Q263064, inside).
        """
        async with self._path("gateway"):
            await self._scheduler.reach(GATEWAY_CONVERT)
            properties = imail.inbound(octets)
            if self._calls_inside:
                await hand_over(properties)
        if not self._calls_inside:
            await hand_over(properties)
        return properties
