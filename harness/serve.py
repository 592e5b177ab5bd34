"""`mailjam serve`: the servers, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from operator import not_
from pathlib import Path
from typing import Any

from emulator.builds import DEFAULT_BUILD
from emulator.certificates import authority, default_directory
from emulator.config import (
    Settings,
    SettingsError,
    default_hostname,
    parse_bearer_token,
    parse_moderator,
)
from emulator.loading import eml_files, load
from emulator.server import IS, Server
from emulator.service import State
from emulator.setting_values import parse_assignment, read_file, set_field, toml_lines
from protocols.ports import SessionClosed
from protocols.settings import FrontEndSettings, Limits

from .arguments import how_many_or_none
from .disturbances import Disturbances
from .jam import ARTICLES, arm
from .ps import control_socket
from .stacks import await_stack
from .testing.clock import AdvancingClock
from .watcher import Watcher

HUNG_AFTER_SECONDS = 3.0
PORTS = {
    "smtp": 1025,
    "pop3": 1110,
    "imap": 1143,
    "nntp": 1119,
    "smtps": None,
    "pop3s": None,
    "imaps": None,
    "nntps": None,
    "lmtp": None,
    "http": 8025,
}


def _port(text: str) -> int | None:
    if text.lower() in ("none", "off"):
        return None
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: write 0 to 65535 (0: any free one), or off")
    return int(text)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mailjam serve`."""
    parser = subparsers.add_parser("serve", help="start the servers")
    add, add_setting = parser.add_argument, partial(parser.add_argument, default=argparse.SUPPRESS)
    add_setting("--build", help=f"emulated build of Store.exe, or sp3, sp4, patched ({DEFAULT_BUILD})")
    add_setting("--defect", action="append", metavar="NAME", help="switch a named defect on, whatever the build")
    add_setting("--host", help="address to listen on (127.0.0.1)")
    for name, port in PORTS.items():
        add_setting(
            f"--{name}-port",
            type=_port,
            metavar="PORT",
            help=f"port of {name.upper()}; 0: any free one, off: none ({port or 'off'})",
        )
    add_setting("--user", action="append", metavar="NAME:PASSWORD", help="an account; may be repeated")
    add_setting("--group", action="append", metavar="NAME", help="a newsgroup; may be repeated")
    add_setting("--load", action="append", type=Path, metavar="DIR", help="deliver the .eml files of a folder at start")
    add_setting("--data", type=Path, metavar="DIR", help="keep everything in this folder (without it: in memory)")
    add_setting("--transcripts", type=Path, metavar="DIR", help="write each session into a file here, secrets masked")
    add("--config", type=Path, metavar="FILE", help="settings from a TOML file; flags and variables win over it")
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any setting, whatever file and flags say; --show-settings lists all",
    )
    add("--show-settings", action="store_true", help="print all settings as they are now, as a TOML file, and end")
    add_setting("--strict-users", action="store_true", help="only --user accounts exist; mail for others is refused")
    _add_tls_flags(add_setting)
    _add_mail_flags(add_setting)
    _add_news_flags(add_setting)
    add("--http-host", default=None, metavar="HOST", help="where the page and API listen (the address of --host)")
    add("--http-token", default=None, metavar="TOKEN", help="token of API clients (beyond loopback: made at start)")
    add(
        "--http-cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin whose pages may use the API, as http://localhost:3000; *: any (its own alone)",
    )
    add_setting("--bare-lf", action="store_true", help="a lone LF ends a command line too (netcat)")
    add_setting("--hostname", help=f"name in greetings and trace fields ({default_hostname()})".replace("%", "%%"))
    add_setting("--personality", choices=("modern", "exchange55"), help="greetings and capability lists (modern)")
    add_setting("--hide", "--imap-hide", action="append", metavar="EXT", help="a capability not to be offered")
    add_setting("--no-plaintext-login", action="store_true", help="passwords only under TLS")
    add_setting("--require-login", action="store_true", help="SMTP mail and NNTP reading need a login")
    add_setting(
        "--message-bytes-max",
        type=int,
        metavar="OCTETS",
        help=f"the largest message or article ({Limits().message_bytes_max})",
    )
    add("--quiet", action="store_true", help="no line for each session")
    add("--mqtt", default="", metavar="URL", help="publish events and states to mqtt://HOST:1883/prefix")
    add("--faults", type=Path, metavar="FILE", help="arm the faults of a TOML script at start")
    add("--jam", metavar="SCENARIO", choices=list(ARTICLES), help="jam without further help, as in --jam q279798")
    add(
        "--after",
        type=how_many_or_none,
        default=0,
        metavar="N",
        help="with --jam: after N delivered messages (%(default)s)",
    )
    parser.set_defaults(run=run)


def _add_tls_flags(add_setting: Callable[..., Any]) -> None:
    add_setting(
        "--tls-certificate", type=Path, metavar="FILE", help="certificate chain, PEM (without it: made at start)"
    )
    add_setting("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    add_setting(
        "--tls-directory", type=Path, metavar="DIR", help="where the certificate authority is kept (`mailjam ca`)"
    )
    add_setting("--no-tls", action="store_true", help="do not offer STARTTLS")


def _add_mail_flags(add_setting: Callable[..., Any]) -> None:
    add_setting("--domain", action="append", metavar="NAME", help="a domain whose mail is delivered here (every one)")
    add_setting("--smarthost", metavar="HOST:PORT", help="sends mail for other domains on (none: all stays here)")
    add_setting(
        "--outbound-retry-seconds", type=float, metavar="SECONDS", help="pause before the second attempt; it doubles"
    )
    add_setting(
        "--outbound-expire-seconds",
        type=float,
        metavar="SECONDS",
        help="mail not delivered after so long is returned to its sender",
    )
    add_setting("--lmtp-socket", type=Path, metavar="PATH", help="serve LMTP on a Unix socket")
    add_setting(
        "--gateway",
        action="append",
        metavar="DOMAIN=KIND:PLACE",
        help="mail for DOMAIN leaves by maildir:DIR, webhook:URL, webhook:PORT:URL or process:COMMAND",
    )
    add_setting("--handler", metavar="MODULE:CLASS", help="an aiosmtpd handler with its arguments, for all mail")
    add_setting("--handler-thread", action="store_true", help="run it in a thread: for handlers that block (Proxy)")
    add_setting("--smtp-greeting-seconds", type=float, metavar="SECONDS", help="pause before SMTP's greeting")
    add_setting("--bearer-token", action="append", metavar="USER:TOKEN", help="a token for XOAUTH2 and OAUTHBEARER")
    add_setting(
        "--proxy-protocol",
        nargs="?",
        const="all",
        metavar="SERVERS",
        help="connections begin with a PROXY header, v1 or v2: all, or some as in smtp,imap",
    )


def _add_news_flags(add_setting: Callable[..., Any]) -> None:
    add_setting(
        "--newsfeed",
        action="append",
        metavar="FEED",
        help="push:HOST:PORT/GROUPS or pull:HOST:PORT/GROUPS, also as in pull+tls:USER:PASSWORD@HOST:PORT/GROUPS",
    )
    add_setting(
        "--newsfeed-tls-ca", type=Path, metavar="FILE", help="authorities that feeds' certificates are checked against"
    )
    add_setting("--motd", metavar="TEXT", help="message of the day for newsreaders (LIST MOTD)")
    add_setting(
        "--subscription",
        action="append",
        metavar="GROUP",
        help="a newsgroup suggested to new readers (LIST SUBSCRIPTIONS)",
    )
    add_setting(
        "--moderator", action="append", metavar="GROUPS=ADDRESS", help="where posts to moderated groups are mailed"
    )
    add_setting("--control-messages", action="store_true", help="obey newgroup, rmgroup and cancel messages")
    add_setting("--no-posting", action="store_true", help="newsreaders may not post")
    add_setting("--article-days", type=float, metavar="DAYS", help="articles expire after so long (0: never)")


def _proxied_servers(text: str) -> tuple[str, ...]:
    """`all`, or names with commas between them. Raises SettingsError."""
    names = () if text in ("", "all") else tuple(text.lower().split(","))
    for name in names:
        if name not in PORTS or name == "http":
            known = ",".join(each for each in PORTS if each != "http")
            raise SettingsError(f"--proxy-protocol {text}: write all, or some of {known}")
    return names


_LIKE_THEIR_FLAGS = (
    *("build", "host", "load", "data", "transcripts", "strict_users", "hostname", "personality", "message_bytes_max"),
    *("tls_certificate", "tls_key", "tls_directory", "smarthost", "outbound_expire_seconds", "lmtp_socket", "handler"),
    *("handler_thread", "smtp_greeting_seconds", "newsfeed_tls_ca"),
    *(f"{name}_port" for name in PORTS),
)
_SETTINGS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    **{name: (name, lambda value: value) for name in _LIKE_THEIR_FLAGS},
    "defect": ("defects", list),
    "user": ("accounts", list),
    "group": ("groups", list),
    "gateway": ("gateways", list),
    "no_tls": ("tls", not_),
    "domain": ("domains", lambda names: [name.lower() for name in names]),
    "newsfeed": ("newsfeeds", list),
    "bearer_token": ("bearer_tokens", lambda texts: [parse_bearer_token(text) for text in texts]),
    "proxy_protocol": ("proxy_protocol_servers", _proxied_servers),
    "article_days": ("article_expire_seconds", lambda days: days * 86400),
    "outbound_retry_seconds": ("outbound_retry_seconds_min", float),
    "hide": ("capabilities_hidden", lambda names: [name.upper() for name in names]),
    "no_plaintext_login": ("plaintext_login", not_),
    "require_login": ("login_required", bool),
    "bare_lf": ("quirk_bare_lf", bool),
    "no_posting": ("posting_allowed", not_),
    "control_messages": ("nntp_control_messages", bool),
    "moderator": ("nntp_moderators", lambda texts: [parse_moderator(text) for text in texts]),
    "motd": ("nntp_motd", str),
    "subscription": ("nntp_subscriptions", list),
}
"""Each flag that stands for a setting: the field, and what makes of the flag what a file would say there."""


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Settings from the file that the command line names, its flags, its `--set`: the later win. Raises SettingsError.

    A flag that was not given is not in the namespace.
    """
    settings = Settings(front_end=FrontEndSettings(hostname=default_hostname()))
    for name, port in PORTS.items():
        settings = set_field(settings, f"{name}_port", port)
    if arguments.config is not None:
        for name, value in read_file(arguments.config).items():
            settings = set_field(settings, name, value)
    for flag, (name, read) in _SETTINGS.items():
        if hasattr(arguments, flag):
            settings = set_field(settings, name, read(getattr(arguments, flag)))
    if getattr(arguments, "proxy_protocol", ""):
        settings = replace(settings, proxy_protocol=True)
    for text in arguments.set:
        settings = set_field(settings, *parse_assignment(text))
    if settings.tls and settings.tls_certificate is None and settings.tls_directory is None:
        settings = replace(settings, tls_directory=_authority_directory(settings.data))
    return settings


def _authority_directory(data: Path | None) -> Path | None:
    """Where the certificate authority outlives the process: beside the data, or at home; None where neither is."""
    directory = data or default_directory()
    try:
        authority(directory)
    except SettingsError:
        return None
    return directory


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes. Raises SettingsError, UnknownBuild."""
    settings = settings_from(arguments)
    if settings.handler:
        sys.path.append(str(Path.cwd()))  # as `python -m` does, so that a handler beside us is found
    settings.find_build()
    if arguments.show_settings:
        print("\n".join(toml_lines(settings)))
        return 0
    for directory in settings.load:
        eml_files(directory)
    if arguments.jam:  # the build may lack the defect: whoever asks for the jam shall have it
        settings = replace(settings, defects=settings.defects | {ARTICLES[arguments.jam].defect})
    elif arguments.after:
        raise SettingsError("--after belongs to --jam: name what shall jam, as in --jam q279798")
    disturb = Disturbances(arguments.mqtt, arguments.faults)
    return asyncio.run(
        _serve(
            settings,
            quiet=arguments.quiet,
            jam=arguments.jam,
            after=arguments.after,
            disturb=disturb,
            http=(arguments.http_host, arguments.http_token, tuple(arguments.http_cors)),
        )
    )


async def _serve(
    settings: Settings,
    *,
    quiet: bool,
    jam: str | None = None,
    after: int = 0,
    disturb: Disturbances | None = None,
    http: tuple[str | None, str | None, tuple[str, ...]] = (None, None, ()),
) -> int:
    server = Server(settings, clock=AdvancingClock())
    if not quiet:
        server.bus.on(SessionClosed, _log_session)
    asked = asyncio.Queue[int]()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.put_nowait, number)
    # A large store is millions of objects that live long: look through them rarely (the default is every 700 objects).
    gc.set_threshold(50_000, 20, 50)
    await server.start()
    if settings.http_port is not None:
        await _serve_http(server, settings.http_port, http)
    for directory in settings.load:
        count = await load(server, directory)
        print(f"loaded {count} messages from {directory}")
    gc.freeze()  # what is there now stays: a look through 100,000 messages would keep all others waiting for a second
    if disturb is not None:
        disturb.start(server)
    print("\n".join(banner(server)), flush=True)
    if jam:
        trap = arm(server, jam, after)
        print(f"armed: {trap.article.title}, after {after} delivered messages", flush=True)
    async with control_socket(server), Watcher(server) as watcher:
        report = loop.create_task(_report_jams(watcher))
        await asked.get()
        print("stopping (Ctrl-C again: kill)", flush=True)
        killed = await _stop(server, asked)
        report.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await report
    await server.kill()
    print("killed" if killed else "stopped", flush=True)
    return 1 if killed else 0


async def _serve_http(server: Server, port: int, http: tuple[str | None, str | None, tuple[str, ...]]) -> None:
    """The page and API. A second mailjam on this machine finds the default port taken and is given a free one."""
    from .http.app import serve_http  # noqa: PLC0415 - costs 0.2 s that a server without it need not wait

    host, token, origins = http[0] or server.settings.host, http[1], http[2]
    try:
        running = await serve_http(server, host, port, token=token, origins=origins)
    except SettingsError:
        if port != PORTS["http"]:
            raise
        running = await serve_http(server, host, 0, token=token, origins=origins)
    if running.token:
        print(f"page and API, with their token: {running.url}", flush=True)


async def _stop(server: Server, asked: asyncio.Queue[int]) -> bool:
    """Stop gracefully; True when a second signal came first. Says so when a jam keeps it from stopping."""
    stop = server.control.request_stop(IS)
    again = asyncio.get_running_loop().create_task(asked.get())
    started, told = time.monotonic(), False
    while not stop.done() and not again.done():
        await asyncio.wait((stop, again), timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        if not told and not stop.done() and time.monotonic() - started > HUNG_AFTER_SECONDS:
            told = True
            print("\n".join(hung_lines(server)), flush=True)
    again.cancel()
    return not stop.done()


def hung_lines(server: Server) -> list[str]:
    """Why a stop does not end."""
    pending = [name for name, state in server.states().items() if state is State.STOP_PENDING]
    lines = [f"{', '.join(pending) or 'the service'} stays in `stop pending`:"]
    waits = server.sections.waits()
    lines.extend(f"  {wait}" for wait in waits)
    if server.sections.cycles():
        lines.append("the store is jammed and will not stop by itself; Ctrl-C kills it")
        lines.append("what was acknowledged is in the spool" if server.settings.data else "nothing is kept (no --data)")
    elif not waits:
        busy = [str(actor) for front_end in server.front_ends.values() for actor in front_end.actors()]
        lines.extend(f"  waits for {actor}" for actor in busy[:20])
    return lines


async def _report_jams(watcher: Watcher) -> None:
    jam = await _first_jam(watcher)
    print("JAMMED:", flush=True)
    for edge in jam.cycle:
        print(f"  {edge}")
        for frame in await_stack(edge.waiter_actor)[-4:]:
            print(f"      {frame}")
    sys.stdout.flush()


async def _first_jam(watcher: Watcher) -> Any:
    while True:
        with contextlib.suppress(TimeoutError):
            return await watcher.wait_for_jam(3600.0)


def _log_session(event: SessionClosed) -> None:
    stamp = time.strftime("%H:%M:%S")
    who = f" {event.actor.user}" if event.actor.user else ""
    print(
        f"{stamp} {event.actor.name}{who} from {event.peer}: {event.commands} commands,"
        f" {event.octets_sent} octets sent, {event.seconds:.2f} s, {event.how}",
        flush=True,
    )


def banner(server: Server) -> list[str]:
    """What to type into a mail client."""
    settings = server.settings
    lines = [f"mailjam emulates {server.build.number} ({server.build.service_pack})"]
    if server.build.defects:
        lines.append(f"defects: {', '.join(sorted(server.build.defects))}: this build can jam")
    rows = {
        "smtp": "outgoing mail",
        "smtps": "outgoing mail, TLS",
        "imap": "incoming mail",
        "imaps": "incoming mail, TLS",
        "pop3": "incoming mail",
        "pop3s": "incoming mail, TLS",
        "nntp": "news",
        "nntps": "news, TLS",
        "lmtp": "local delivery",
        "http": "page and API",
    }
    for name, what in rows.items():
        if name in server.addresses:
            host, port = server.addresses[name]
            shown = f"http://{host}:{port}/" if name == "http" else f"{host} port {port}"
            lines.append(f"  {name.upper():6} {shown:28} {what}")
    security = "STARTTLS or none" if server.tls_context is not None else "none"
    if settings.accounts:
        names = ", ".join(account.name for account in settings.accounts)
        lines.append(f"  accounts: {names}; connection security: {security}")
    else:
        lines.append(f"  accounts: any name and password; connection security: {security}")
    if not settings.data:
        lines.append("  mail is kept in memory; --data DIR keeps it on disk")
    lines.append("Ctrl-C stops")
    return lines


__all__ = ["SettingsError", "add_parser", "banner", "hung_lines", "run", "settings_from"]
