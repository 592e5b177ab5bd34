"""Assembly of a running system from settings: what `mailjam serve`, the tests and the scenarios start."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from protocols.actor import Actor
from protocols.imap.session import ImapSession
from protocols.nntp import NntpSession
from protocols.pop3 import Pop3Session
from protocols.ports import Clock, PortError, Services, Unavailable
from protocols.session import Session

from . import certificates, quirks
from .admission import Admission
from .builds import SECTION_RANKS
from .config import Settings, SettingsError
from .converter import Converter
from .directory import Directory
from .durable import open_store
from .events import Bus, ServiceFailed
from .gateways.logon import log_on
from .implicit_tls import implicit_tls
from .logons import Logons
from .loop_thread import LoopThread
from .mts import MessageTransferStub
from .news import InternetNews
from .outbound import InternetMail, OutboundMail
from .proxied import proxied
from .queues import InboundMail, NotificationThread
from .scheduling import AsyncioClock, AsyncioScheduler
from .sections import Sections
from .service import Service, ServiceControl, State, Steps
from .smtp import Plug, load_handler, smtp_connection, smtp_session
from .spool import DiskSpool, MemorySpool, Spool
from .store import Store
from .thread_pool import ThreadPool
from .transcripts import TranscriptFiles, open_transcripts
from .transport import Connection, FrontEnd, Tap

SECTION_PURPOSES = {
    "imail": "state of the IMAIL conversion",
    "directory": "what derives from the directory: site addressing, SMTP domains, protocol objects",
    "gateway": "table of gateways (EDK connectors) and their MTS folders",
}

IS, IMC, INS = "MSExchangeIS", "MSExchangeIMC", "MSExchangeINS"
LISTEN_BACKLOG = 1024


class Server:
    """One mailjam. `async with Server(settings) as server:` starts and stops it; ports are in `addresses`."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        scheduler: AsyncioScheduler | None = None,
        store: Store | None = None,
        sockets: Mapping[str, socket.socket] | None = None,
    ) -> None:
        """Raises UnknownBuild, SettingsError.

        `store`: go on with this one, which no other server uses any more. `sockets`: listen on these, by protocol, as
        `kill_but_listen` left them.
        """
        build = settings.find_build()
        front_end = replace(settings.front_end, build=build.number)
        if build.counter_bits("recipients") < 64:  # SMTP took any number of them before KB Q272672
            front_end = replace(front_end, limits=replace(front_end.limits, recipients_max=1 << 20))
        self.settings = replace(settings, front_end=front_end)
        self.build = build
        self.clock: Clock = clock or AsyncioClock()
        self.scheduler = scheduler or AsyncioScheduler(settings.preemption)
        self.bus = Bus()
        self.sections = Sections(self.scheduler, self.bus, SECTION_RANKS, SECTION_PURPOSES)
        self.control = ServiceControl(self.scheduler, self.bus)
        self.addresses: dict[str, tuple[str, int]] = {}
        """(host, port) of each protocol that is served: `smtp`, `pop3`, `imap`, `nntp`, `smtps` and so on."""
        self.front_ends: dict[str, FrontEnd] = {}
        self.mail_front_ends: dict[str, FrontEnd] = {}
        """Those of the Internet Mail Service, which stops before the information store does."""
        self._listeners: dict[str, list[asyncio.Server]] = {IS: [], IMC: []}
        self.admission = Admission(settings, self.clock)
        self.pools = {
            work: ThreadPool(title, self.scheduler, self.clock, build.pool(work))
            for work, title in (("store", "information store"), ("gateway", "gateways"))
        }
        """Threads for kinds of work; bounded in builds that have such a defect."""
        self.tls_context: ssl.SSLContext | None = None
        self.transcripts: TranscriptFiles | None = None
        self._handler_thread = LoopThread("mailjam-handler") if settings.handler_thread else None
        self._plug = Plug(load_handler(settings.handler), self._handler_thread) if settings.handler else None
        self._given_store = store
        self._given_sockets = dict(sockets or {})

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store and start all services. Raises SettingsError with one line that names the fix."""
        settings = self.settings
        self.tls_context = certificates.server_context(settings)
        self.store: Store = self._given_store or await open_store(settings, now=self.clock.time)
        try:
            await self._assemble()
        except BaseException:
            await self.kill()
            raise

    async def _assemble(self) -> None:
        settings = self.settings
        self.store.pause = self.scheduler.pause
        self.transcripts = open_transcripts(settings)
        self.spool: Spool = MemorySpool()
        if settings.data is not None:  # after the store, whose lock keeps a second process out
            disk = DiskSpool(settings.data)
            disk.open()
            self.spool = disk
        self.directory = Directory(settings, self.store, self.bus)
        self.converter = Converter(settings, self.build, self.sections, self.scheduler, self.store)
        self.inbound = InboundMail(
            settings,
            self.scheduler,
            self.clock,
            self.bus,
            self.spool,
            self.store,
            self.directory,
            self.converter,
        )
        self.directory.logons = Logons(self.bus, settings.logons_max, frees=self.build.frees("logon"))
        self.converter.faulted = self._store_faulted
        self.inbound.failed = self._mail_failed
        self.inbound.deliveries.threads = self.pools["store"]
        self.mts = MessageTransferStub(
            settings,
            self.scheduler,
            self.directory,
            self.converter,
            self.pools["gateway"],
            self.spool,
            self.clock,
            self.store,
        )
        self.notification = NotificationThread(self.scheduler, self.bus, self.converter, self.directory)
        self.outbound = OutboundMail(
            settings,
            self.scheduler,
            self.clock,
            self.bus,
            self.spool,
            self.directory,
            self.converter,
            self.inbound,
        )
        self.inbound.deliveries.report = self.outbound.report
        self.inbound.deliveries.carry = self.mts.carry
        self.mts.report = self.outbound.report
        self.submission = InternetMail(settings, self.clock, self.directory, self.inbound, self.outbound)
        self.services = Services(
            self.store,
            self.converter,
            self.directory,
            self.submission,
            self.clock,
            self.bus,
            self.settings.front_end,
        )
        for account in settings.accounts:
            await self.directory.add_user(account.name, account.password)
        for user, token in settings.bearer_tokens:
            self.directory.add_token(token, user)
        for group in settings.groups:
            if group not in self.store.newsgroups:
                try:
                    await self.store.create_newsgroup(group)
                except PortError as error:
                    raise SettingsError(f"--group {group!r}: {error}") from error
        self._add_services()
        for name in self.control.services:
            await self.control.start(name)

    def _add_services(self) -> None:
        store_steps = Steps(self._start_store, self._stop_store, self._close_listeners_of(IS))
        mail_steps = Steps(self._start_mail, self._stop_mail, self._close_listeners_of(IMC), self._open_mail_listeners)
        self.control.add(Service(IS, "Microsoft Exchange Information Store", store_steps))
        news_steps = Steps(self._start_news, self._stop_news, self._stop_news, self._start_news)
        # before the mail service: dependents stop in the opposite order, and mail may take long or jam
        self.control.add(Service(INS, "Microsoft Exchange Internet News Service", news_steps, needs=(IS,)))
        self.control.add(Service(IMC, "Microsoft Exchange Internet Mail Service", mail_steps, needs=(IS,)))

    async def _start_store(self) -> None:
        self.notification.start()
        await log_on(self.settings.gateways, self.mts, self.scheduler, self.clock, self.settings.host)
        self.news = InternetNews(self.settings, self.scheduler, self.services, self.store, self.bus)
        self.news.history.start()
        settings = self.settings
        sessions: dict[str, tuple[quirks.SessionClass, int | None, int | None]] = {
            "pop3": (Pop3Session, settings.pop3_port, settings.pop3s_port),
            "imap": (ImapSession, settings.imap_port, settings.imaps_port),
            "nntp": (NntpSession, settings.nntp_port, settings.nntps_port),
        }
        for name, (session_class, port, tls_port) in sessions.items():
            if port is None and tls_port is None:
                continue
            front_end = FrontEnd(
                settings,
                self.clock,
                self.scheduler,
                partial(self._session, quirks.session_class(session_class, self.build, self.pools["store"])),
                tls_context=self.tls_context,
                admit=self._admit,
                dismiss=self._dismiss,
                tap=self._tap if self.transcripts is not None else None,
            )
            self.front_ends[name] = front_end
            if port is not None:
                await self._listen(IS, name, front_end.protocol, port)
            if tls_port is not None:
                await self._listen(IS, f"{name}s", front_end.protocol, tls_port, tls=True)

    def _session(self, session_class: Callable[..., Session[Any]], connection: Connection) -> Session[Any]:
        return session_class(connection, self.services)

    async def _stop_store(self) -> None:
        await self._close_listeners(IS)
        await asyncio.gather(*(front_end.stop() for front_end in self.front_ends.values()))
        self.front_ends.clear()
        await self.news.history.stop()
        self.notification.queue.close()
        self.mts.close()
        await self.store.flush()

    async def _start_news(self) -> None:
        self.news.start()

    async def _stop_news(self) -> None:
        await self.news.stop()

    async def _start_mail(self) -> None:
        await self.inbound.recover()
        await self.outbound.recover()
        self.inbound.start_workers()
        self.outbound.start_workers()
        await self._open_mail_listeners()

    async def _open_mail_listeners(self) -> None:
        settings = self.settings
        smtp, lmtp = self._mail_front_end("smtp"), self._mail_front_end("lmtp")
        if settings.smtp_port is not None:
            await self._listen(IMC, "smtp", smtp.protocol, settings.smtp_port)
        if settings.smtps_port is not None:
            await self._listen(IMC, "smtps", smtp.protocol, settings.smtps_port, tls=True)
        if settings.lmtp_port is not None:
            await self._listen(IMC, "lmtp", lmtp.protocol, settings.lmtp_port)
        if settings.lmtp_socket is not None:
            await self._listen_unix(IMC, lmtp.protocol, settings.lmtp_socket)

    def _mail_front_end(self, name: str) -> FrontEnd:
        if name not in self.mail_front_ends:
            self.mail_front_ends[name] = FrontEnd(
                self.settings,
                self.clock,
                self.scheduler,
                smtp_session(self.services, lmtp=name == "lmtp"),
                tls_context=self.tls_context,
                connection_class=smtp_connection(self._plug),
                admit=self._admit,
                dismiss=self._dismiss,
                tap=self._tap if self.transcripts is not None else None,
            )
        return self.mail_front_ends[name]

    async def _stop_mail(self) -> None:
        await self._close_listeners(IMC)
        await asyncio.gather(*(front_end.stop() for front_end in self.mail_front_ends.values()))
        self.mail_front_ends.clear()
        self.inbound.queue.close()
        self.outbound.close()
        workers = [*self.inbound.workers, *self.outbound.workers]
        if workers:
            await asyncio.wait(workers)

    async def stop(self) -> None:
        """Stop all services gracefully. Returns when everything is stopped: under a jam, never."""
        await self.control.stop(IS)
        await self.kill()

    def _mail_failed(self, text: str) -> None:
        """An error that the Internet Mail Service does not survive: it stops itself (events 4182 and 4102)."""
        if self.control.find(IMC).state in (State.RUNNING, State.START_PENDING):
            self.bus.publish(ServiceFailed(IMC, 4182, text))
            self.scheduler.spawn(Actor("service-control", doing=f"stop {IMC}"), self._stop_failed_mail())

    async def _stop_failed_mail(self) -> None:
        await self.control.wait_for(self.control.find(IMC), State.RUNNING)  # it may have been starting
        await self.control.stop(IMC)

    def _store_faulted(self, reason: str) -> None:
        """An access violation in store.exe: its process ends, and with it every protocol (events 4116 and 3039)."""
        self.bus.publish(ServiceFailed(IS, 3039, reason))
        self.scheduler.spawn(Actor("service-control", doing="end of the process"), self._end_process(reason))

    async def _end_process(self, reason: str) -> None:
        for service in (IMC, IS):
            await self._close_listeners(service)
        for front_end in (*self.front_ends.values(), *self.mail_front_ends.values()):
            for connection in tuple(front_end.connections):
                connection.abort()
        self.scheduler.cancel_others()
        self.inbound.abandon()
        for service in (IMC, INS, IS):
            self.control.ended(service, reason)

    async def kill(self) -> None:
        """End everything now, as the end of the process would. What was acknowledged is in the spool or the store."""
        for service in (IMC, IS):
            await self._close_listeners(service)
        for front_end in (*self.front_ends.values(), *self.mail_front_ends.values()):
            for connection in tuple(front_end.connections):
                connection.abort()
        await self.scheduler.cancel_all()
        store: Store | None = getattr(self, "store", None)  # None: it could not be opened
        if store is not None:
            with contextlib.suppress(Unavailable):  # what waited for an occasion is found out again at the next start
                await store.close()
        for given in self._given_sockets.values():  # nobody came to listen on them
            given.close()
        self._given_sockets.clear()
        spool: Spool | None = getattr(self, "spool", None)
        if spool is not None:
            spool.close()
        if self.transcripts is not None:
            transcripts, self.transcripts = self.transcripts, None
            await asyncio.to_thread(transcripts.close)
        if self._handler_thread is not None:
            await self._handler_thread.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.sections.cycles():
            await self.kill()
        else:
            await self.stop()

    # --- listening ----------------------------------------------------------------------------------------------------

    async def _listen(
        self, service: str, name: str, factory: Callable[[], Connection], port: int, *, tls: bool = False
    ) -> None:
        host = self.settings.host
        made: Callable[[], Any] = factory
        if tls:
            assert self.tls_context is not None
            before = partial(self._before_handshake, name.removesuffix("s"))
            seconds_max = self.settings.tls_handshake_seconds_max
            made = implicit_tls(factory, self.tls_context, seconds_max, self.scheduler.spawn, before, self.admission)
        if self._is_proxied(name):
            made = proxied(made, self.admission)
        if name in self.addresses:  # continue after a pause, or a second start: the port that clients know
            port = self.addresses[name][1]
        loop = asyncio.get_running_loop()
        given = self._given_sockets.pop(name, None)
        try:
            if given is not None:
                listener = await loop.create_server(made, sock=given, backlog=LISTEN_BACKLOG)
            else:
                listener = await loop.create_server(made, host, port, backlog=LISTEN_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                text = f"port {port} is in use: choose another with --{name}-port, or 0 for any free one"
            elif error.errno == errno.EACCES:
                text = f"port {port} needs privileges: choose one above 1023 with --{name}-port"
            else:
                text = f"cannot listen on {host} port {port} (--host, --{name}-port): {error.strerror or error}"
            raise SettingsError(text) from error
        self._listeners[service].append(listener)
        address = listener.sockets[0].getsockname()
        self.addresses[name] = (address[0], address[1])

    async def listen_again(self, name: str, port: int, *, tls: bool = False, starttls: bool = True) -> None:
        """Listen anew for `smtp` with `settings` as they are now, on this port. Raises SettingsError."""
        self.tls_context = certificates.server_context(self.settings)
        await self._close_listeners(IMC)
        self.addresses.pop(name, None)
        self.mail_front_ends.pop(name, None)
        front_end = self._mail_front_end(name)
        if not starttls:
            front_end.offer_no_tls()
        await self._listen(IMC, name, front_end.protocol, port, tls=tls)

    def _before_handshake(self, protocol: str, peer: str) -> Awaitable[None] | None:
        monitor = self.services.monitor
        return monitor.before_handshake(protocol, peer) if monitor is not None else None

    def _is_proxied(self, name: str) -> bool:
        chosen = self.settings.proxy_protocol_servers
        return self.settings.proxy_protocol and (not chosen or name in chosen)

    async def _listen_unix(self, service: str, factory: Callable[[], asyncio.BaseProtocol], path: Path) -> None:
        try:
            listener = await asyncio.get_running_loop().create_unix_server(factory, path, backlog=LISTEN_BACKLOG)
        except OSError as error:
            raise SettingsError(f"cannot listen on {path} (--lmtp-socket): {error.strerror or error}") from error
        self._listeners[service].append(listener)

    async def kill_but_listen(self) -> dict[str, socket.socket]:
        """`kill`, but keep the listening sockets, by protocol: who connects waits there until another server listens.

        The caller has to give them to that server, or to close them.
        """
        names = {address: name for name, address in self.addresses.items()}
        kept: dict[str, socket.socket] = {}
        listeners = [listener for of_service in self._listeners.values() for listener in of_service]
        for each in (each for listener in listeners for each in listener.sockets):
            name = names.get(each.getsockname()[:2]) if each.family != socket.AF_UNIX else None
            if name is not None:
                kept[name] = each.dup()
        try:
            await self.kill()
        except BaseException:
            for each in kept.values():
                each.close()
            raise
        return kept

    async def _close_listeners(self, service: str) -> None:
        listeners, self._listeners[service] = self._listeners[service], []
        for listener in listeners:
            listener.close()

    def _close_listeners_of(self, service: str) -> Callable[[], Any]:
        return lambda: self._close_listeners(service)

    # --- admission ----------------------------------------------------------------------------------------------------

    def _admit(self, connection: Connection) -> str | None:
        """Why a connection is refused, or None."""
        return self.admission.arrived(connection.peer_address)

    def _tap(self, connection: Connection, session: Session[Any]) -> Tap:
        assert self.transcripts is not None
        return self.transcripts.begin(session.protocol, str(session.actor), connection.peer, connection.tls)

    def _dismiss(self, connection: Connection) -> None:
        failures = connection.session.login_failures if connection.session is not None else 0
        self.admission.left(connection.peer_address, failures)

    # --- looking at it ------------------------------------------------------------------------------------------------

    def queue_lengths(self) -> dict[str, int]:
        """The four queues by the names of their counters (KB Q156063)."""
        mts_in, mts_out = self.mts.queue_lengths()
        return {
            "Queued Inbound": self.inbound.awaiting_conversion,
            "Queued MTS-IN": mts_in,
            "Queued MTS-OUT": mts_out + len(self.outbound.mts_out),
            "Queued Outbound": len(self.outbound.entries) - len(self.outbound.mts_out),
        }

    def states(self) -> dict[str, State]:
        """The state of each service."""
        return {service.name: service.state for service in self.control.services.values()}
