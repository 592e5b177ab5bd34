"""Commands that ask a running server over HTTP: send, ingest, dump, wait, fault, user. Only the standard library."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator.config import SettingsError

from .faults.model import Fault, FaultError, read_script
from .testing.tenants import check_name

DEFAULT_URL = "http://127.0.0.1:8025"
ANSWER_SECONDS_MAX = 330.0
EXIT_NOT_FOUND = 1


class Remote:
    """A server at a URL."""

    def __init__(self, url: str, token: str = "", tenant: str = "") -> None:
        self._tenant = tenant
        self._url = url.rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise SettingsError(f"--http {url!r}: write http://HOST:PORT")
        self._token = token

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "", **query: Any) -> bytes:
        """The octets of the answer. Raises SettingsError with the server's words."""
        pairs = {key: value for key, value in {**query, "tenant": self._tenant}.items() if value not in ("", None)}
        url = self._url + path + ("?" + urllib.parse.urlencode(pairs, doseq=True) if pairs else "")
        headers = {"Content-Type": kind} if kind else {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(url, data=body, method=method, headers=headers)  # noqa: S310  # checked above
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as answer:  # noqa: S310
                octets: bytes = answer.read()
                return octets
        except urllib.error.HTTPError as problem:
            text = problem.read().decode("utf-8", "replace").strip()
            try:
                text = str(json.loads(text)["Error"])
            except (ValueError, KeyError, TypeError):
                pass
            raise SettingsError(text) from None
        except OSError as problem:
            reason = getattr(problem, "reason", problem)
            raise SettingsError(f"no mailjam at {self._url} ({reason}): start one, or name it with --http") from None

    def json(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer as JSON."""
        octets = None if body is None else json.dumps(body).encode()
        return json.loads(self.ask(method, path, octets, "application/json" if octets else "", **query))


class Intermixed(argparse.ArgumentParser):
    """Options may stand anywhere among words: `fault add --http URL error command=RCPT`."""

    _within = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See argparse."""
        if self._within:  # the parsing of intermixed arguments comes back here, twice
            return super().parse_known_args(args, namespace)
        self._within = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._within = False


def _parser(subparsers: Any, name: str, text: str, run: Callable[[argparse.Namespace, Remote], int]) -> Any:
    parser = subparsers.add_parser(name, help=text)
    parser.__class__ = Intermixed
    parser.add_argument("--http", default=DEFAULT_URL, metavar="URL", help="where the server is (%(default)s)")
    parser.add_argument("--token", default="", help="the server's token, where it has one (or MAILJAM_TOKEN)")
    parser.add_argument("--tenant", default="", help="ask this tenant of the server: a system of its own")

    def start(arguments: argparse.Namespace) -> int:
        try:
            tenant = check_name(arguments.tenant) if arguments.tenant else ""
        except ValueError as problem:
            raise SettingsError(str(problem)) from None
        token = arguments.token or os.environ.get("MAILJAM_TOKEN", "")
        return run(arguments, Remote(arguments.http, token, tenant))

    parser.set_defaults(run=start)
    return parser


# --- send, ingest, dump, wait ----------------------------------------------------------------------------------------


def send_parser(subparsers: Any) -> Any:
    """`mailjam send`."""
    parser = _parser(subparsers, "send", "send a message through the server's Internet Mail Service", _send)
    parser.add_argument("--from", dest="sender", default="mailjam@localhost", metavar="ADDRESS")
    parser.add_argument("--to", action="append", required=True, metavar="ADDRESS", help="may be repeated")
    parser.add_argument("--subject", default="")
    parser.add_argument("--text", help="the text (standard input)")
    parser.add_argument("--html", default="", help="an HTML alternative")
    return parser


def _send(arguments: argparse.Namespace, remote: Remote) -> int:
    text = sys.stdin.read() if arguments.text is None else arguments.text
    body = {
        "From": {"Email": arguments.sender},
        "To": [{"Email": name} for name in arguments.to],
        "Subject": arguments.subject,
        "Text": text,
        "HTML": arguments.html,
    }
    print(remote.json("POST", "/api/v1/send", body)["ID"])
    return 0


def ingest_parser(subparsers: Any) -> Any:
    """`mailjam ingest`."""
    parser = _parser(subparsers, "ingest", "put .eml files straight into mailboxes or newsgroups", _ingest)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files, or folders of .eml files")
    parser.add_argument("--to", action="append", required=True, metavar="PLACE", help="user, user/Folder or newsgroup")
    return parser


def _ingest(arguments: argparse.Namespace, remote: Remote) -> int:
    places = arguments.to
    count = 0
    for path in arguments.files:
        try:
            for file in sorted(path.rglob("*.eml")) if path.is_dir() else [path]:
                remote.ask("POST", "/api/messages", file.read_bytes(), "message/rfc822", to=places)
                count += 1
        except OSError as problem:
            raise SettingsError(f"{path}: {problem.strerror}") from None
    print(f"{count} messages")
    return 0


def dump_parser(subparsers: Any) -> Any:
    """`mailjam dump`."""
    parser = _parser(subparsers, "dump", "write the server's messages into a folder", _dump)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--query", default="", help="only those that match (Mailpit's grammar)")
    return parser


def _dump(arguments: argparse.Namespace, remote: Remote) -> int:
    try:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SettingsError(f"{arguments.folder}: {problem.strerror}") from None
    path = "/api/v1/search" if arguments.query else "/api/v1/messages"
    start, count = 0, 0
    while True:
        page = remote.json("GET", path, query=arguments.query, start=start, limit=500)
        for message in page["messages"]:
            name = str(message["ID"])
            if not (name.isascii() and name.isalnum()):  # it becomes the name of a file here
                raise SettingsError(f"--http: the server has a message {name[:80]!r}: it is no mailjam")
            octets = remote.ask("GET", f"/api/v1/message/{name}/raw")
            (arguments.folder / f"{name}.eml").write_bytes(octets)
            count += 1
        if len(page["messages"]) < 500:
            break
        start += 500
    print(f"{count} messages")
    return 0


def wait_parser(subparsers: Any) -> Any:
    """`mailjam wait`."""
    parser = _parser(subparsers, "wait", "wait for a message that matches; its summary as JSON", _wait)
    parser.add_argument("query", nargs="*", help="to:bob subject:hello (Mailpit's grammar)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="(%(default)s)")
    parser.add_argument("--after", type=int, default=0, metavar="CURSOR", help="only later than that cursor")
    return parser


def _wait(arguments: argparse.Namespace, remote: Remote) -> int:
    query = " ".join(arguments.query)
    try:
        found = remote.json(
            "GET",
            "/api/wait",
            query=query,
            timeout=arguments.timeout,
            after=arguments.after or None,
        )
    except SettingsError as problem:
        if not str(problem).startswith("no message within"):
            raise
        print(problem, file=sys.stderr)
        return EXIT_NOT_FOUND
    print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


# --- faults and users ------------------------------------------------------------------------------------------------


def fault_parser(subparsers: Any) -> Any:
    """`mailjam fault`."""
    parser = _parser(subparsers, "fault", "arm, show, release and clear faults", _fault)
    parser.add_argument("action", choices=("add", "load", "list", "release", "clear", "record"))
    parser.add_argument(
        "words", nargs="*", help="add: VERB KEY=VALUE …; load: FILE.toml; release: ID; record: FILE.toml"
    )
    return parser


def _fault(arguments: argparse.Namespace, remote: Remote) -> int:
    action, words = arguments.action, arguments.words
    try:
        if action == "add":
            fault = Fault.from_text(shlex.join(words))
            print(remote.json("POST", "/api/faults", fault.as_dict())["id"])
        elif action == "load":
            text = _read(words)
            read_script(text)
            print(f"{len(_load(remote, text))} faults")
        elif action == "release":
            for name in words or [one["id"] for one in remote.json("GET", "/api/faults")["faults"]]:
                remote.json("POST", f"/api/faults/{urllib.parse.quote(name, safe='')}/release")
        elif action == "clear":
            for unused in remote.json("DELETE", "/api/faults")["unused"]:
                print(f"never struck: {unused}", file=sys.stderr)
        elif action == "record":
            script = remote.ask("GET", "/api/faults/recorded").decode()
            if words:
                _write(Path(words[0]), script)
            else:
                print(script, end="")
        else:
            for one in remote.json("GET", "/api/faults")["faults"]:
                state = "healed" if one["healed"] else f"holds {one['holding']}" if one["holding"] else "armed"
                print(f"{one['id']:5} {state:8} struck {one['fired']} of {one['seen']}  {one['text']}")
    except FaultError as problem:
        raise SettingsError(str(problem)) from None
    return 0


def _read(words: list[str]) -> str:
    if len(words) != 1:
        raise SettingsError("fault load: name one file, as in mailjam fault load faults.toml")
    try:
        return Path(words[0]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{words[0]}: {getattr(problem, 'strerror', None) or problem}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as problem:
        raise SettingsError(f"{path}: {problem.strerror}") from None


def _load(remote: Remote, text: str) -> list[Any]:
    loaded: list[Any] = json.loads(remote.ask("PUT", "/api/faults", text.encode(), "application/toml"))
    return loaded


def user_parser(subparsers: Any) -> Any:
    """`mailjam user`."""
    parser = _parser(subparsers, "user", "add and list accounts", _user)
    parser.add_argument("action", choices=("add", "list"))
    parser.add_argument("accounts", nargs="*", metavar="NAME:PASSWORD")
    return parser


def _user(arguments: argparse.Namespace, remote: Remote) -> int:
    if arguments.action == "add":
        if not arguments.accounts:
            raise SettingsError("user add: write NAME:PASSWORD, as in mailjam user add alice:secret")
        for account in arguments.accounts:
            name, _, password = account.partition(":")
            if not name or not password:
                raise SettingsError(f"user add {account!r}: write NAME:PASSWORD, as in mailjam user add alice:secret")
            body = {"name": name, "password": password}
            print(remote.json("POST", "/api/users", body)["name"])
        return 0
    for one in remote.json("GET", "/api/users"):
        inbox = next((folder for folder in one["folders"] if folder["name"] == "INBOX"), {"messages": 0})
        print(f"{one['name']:32} {'account' if one['account'] else 'mailbox':8} {inbox['messages']:6} messages")
    return 0


def tenant_parser(subparsers: Any) -> Any:
    """`mailjam tenant`."""
    parser = _parser(subparsers, "tenant", "add, show, reset and remove systems of their own beside a server", _manage)
    parser.add_argument("action", choices=("add", "list", "reset", "remove"))
    parser.add_argument("name", nargs="?", default="", help="letters, digits, dots and hyphens")
    parser.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD", help="may be repeated")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="may be repeated")
    parser.add_argument("--build", default="", help="emulated build (that of the server)")
    parser.add_argument("--port", action="append", default=[], metavar="PROTOCOL=PORT", help="as in --port smtp=2025")
    parser.add_argument("--fork", action="store_true", help="begin with a copy of what the server has")
    return parser


def _manage(arguments: argparse.Namespace, remote: Remote) -> int:
    if arguments.tenant:
        raise SettingsError("tenant: give its name without --tenant, as in mailjam tenant add shop")
    shown = []
    if arguments.action == "list":
        shown = remote.json("GET", "/api/tenants")
    elif not arguments.name:
        raise SettingsError(f"tenant {arguments.action}: give a name, as in mailjam tenant {arguments.action} shop")
    elif arguments.action == "add":
        ports = dict(word.partition("=")[::2] for word in arguments.port)
        if not all(port.isascii() and port.isdigit() for port in ports.values()):
            raise SettingsError("--port: write PROTOCOL=PORT, as in --port smtp=2025")
        body = {
            "name": arguments.name,
            "build": arguments.build,
            "users": arguments.user,
            "groups": arguments.group,
            "ports": {name: int(port) for name, port in ports.items()},
            "fork": arguments.fork,
        }
        shown = [remote.json("POST", "/api/tenants", body)]
    else:
        path = f"/api/tenants/{urllib.parse.quote(arguments.name, safe='')}"
        if arguments.action == "remove":
            remote.json("DELETE", path)
        else:
            shown = [remote.json("POST", f"{path}/reset")]
    for one in shown:
        places = "  ".join(f"{name} {at['host']}:{at['port']}" for name, at in one["addresses"].items())
        print(f"{one['name']:16} {one['build']:12} {places}")
    return 0


_STATE_AFTER = {"start": "running", "stop": "stopped", "pause": "paused", "continue": "running"}


def service_parser(subparsers: Any) -> Any:
    """`mailjam service`."""
    parser = _parser(subparsers, "service", "show and control the services", _service)
    parser.add_argument("name", nargs="?", help="IS, IMC, INS or the whole name; without it all are shown")
    parser.add_argument("request", nargs="?", help=f"{', '.join(_STATE_AFTER)}; may stand before the name")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="wait so long (%(default)s)")
    return parser


def _service(arguments: argparse.Namespace, remote: Remote) -> int:
    """Exit code 1: the request is not carried out yet; who holds what and who waits for whom is shown."""
    wanted, expected = "", ""
    name, request = arguments.name, arguments.request
    if name in _STATE_AFTER:
        name, request = request, name
    if name or request:
        if not name or request not in _STATE_AFTER:
            known = " or ".join((", ".join(list(_STATE_AFTER)[:-1]), list(_STATE_AFTER)[-1]))
            raise SettingsError(f"service {name or ''} {request or ''}: write a name and {known}, as in IMC stop")
        path = f"/api/services/{urllib.parse.quote(name, safe='')}/{request}"
        wanted, expected = remote.json("POST", path)["service"], _STATE_AFTER[request]
    end = time.monotonic() + arguments.timeout
    while True:
        states = {one["name"]: one["state"] for one in remote.json("GET", "/api/services")}
        if states.get(wanted, expected) == expected or time.monotonic() >= end:
            break
        time.sleep(0.05)
    for name, state in states.items():
        print(f"{name:16} {state}")
    if states.get(wanted, expected) == expected:
        return 0
    pending = ", ".join(f"{name} is in `{state}`" for name, state in states.items() if state.endswith("pending"))
    print(f"{wanted} is not {expected} after {arguments.timeout:g} s: {pending or states[wanted]}", file=sys.stderr)
    from .explain import text_lines  # noqa: PLC0415  # it brings the explorer along

    for line in text_lines(remote.json("GET", "/api/jam")):
        print(f"  {line}", file=sys.stderr)
    return 1
