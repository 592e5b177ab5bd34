"""One fault as a value: a Python object, a table of a TOML file, a JSON object and a line of text are the same thing.

    error protocol=smtp command=RCPT user=alice nth=2 text="451 4.3.0 try later"

reads: of the commands that match (protocol, command, user, arguments), the 2nd is answered so; then it heals.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

STAGE_COMMAND = "command"
"""The command has been read, nothing has been done."""
STAGE_STORE = "store"
"""A message is about to be handed over: SMTP's spool, IMAP APPEND, NNTP POST and IHAVE."""
STAGE_REPLY = "reply"
"""The command has been done, its reply was not sent."""

STAGES: dict[str, tuple[str, ...]] = {
    "delay": (STAGE_COMMAND, STAGE_STORE, STAGE_REPLY),
    "hang": (STAGE_COMMAND, STAGE_STORE, STAGE_REPLY),
    "error": (STAGE_COMMAND, STAGE_STORE, STAGE_REPLY),
    "throttle": (STAGE_REPLY,),
    "trickle": (STAGE_REPLY,),
    "disconnect": (STAGE_COMMAND, STAGE_REPLY),
    "reset": (STAGE_COMMAND, STAGE_REPLY),
    "half-close": (STAGE_REPLY,),
    "stall-tls": (STAGE_COMMAND,),
    "truncate": (STAGE_REPLY,),
    "lose-reply": (STAGE_REPLY,),
    "duplicate": (STAGE_REPLY, STAGE_STORE),
    "corrupt": (STAGE_REPLY,),
    "drop-untagged": (STAGE_REPLY,),
    "jam": (STAGE_COMMAND, STAGE_STORE),
}
"""Every verb, and the stages at which it can strike; the first is what it does when nothing is said."""

PROTOCOLS = ("smtp", "pop3", "imap", "nntp")
CONNECT = "CONNECT"
"""The name, as a command, of what happens between connect and greeting."""
_KEY = re.compile(r"[a-z_]+")
_SECONDS_MAX = 86400.0


_BELONGS_TO: dict[str, tuple[tuple[str, ...], Any]] = {
    "seconds": (("delay", "hang", "trickle"), 0.0),
    "text": (("error", "drop-untagged"), ""),
    "octets": (("truncate", "corrupt"), 1),
    "bytes_per_second": (("throttle",), 0),
    "section": (("jam",), "imail"),
}
"""Settings that only some verbs have, and what they are where nothing is said."""


class FaultError(ValueError):
    """A fault that cannot be: the text is one line that names the fix."""


def close_to(name: str, known: Collection[str]) -> str:
    """What was meant, or what there is, in words."""
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong (`verb`), where (patterns as in a shell, in any case), and for which of the occasions."""

    verb: str
    protocol: str = "*"
    command: str = "*"
    """`RCPT`, `FETCH` (`UID FETCH` too), `AUTHINFO`; `CONNECT` is the greeting."""
    user: str = "*"
    """Who is logged in; an empty string is nobody."""
    arguments: str = "*"
    """The command's arguments as text."""
    message: str = "*"
    """At stage `store`: the message's octets as text, `*Subject: Hello*`."""
    stage: str = ""
    """`command`, `store`, `reply`; for `hang` also a point's name (`inbound.imail.held`)."""
    nth: int = 1
    """The first occasion (counted from 1) at which it strikes."""
    times: int = 1
    """At how many occasions in a row, then it has healed; 0: for ever."""
    per: str = "server"
    """What occasions are counted in: the whole `server`, or each `session` by itself."""
    session: int = 0
    """Only the session with that number, counted by protocol since the script began; 0: any."""
    one_in: float = 1
    """Strikes at one of so many occasions, drawn from `seed`: the same draws in every run. 1.25 is four of five."""
    seed: int = 0
    seconds: float = 0.0
    """delay: how long. hang: until released, or for so long. trickle: between octets."""
    text: str = ""
    """error: the reply (`451 4.3.0 later`, `NO [UNAVAILABLE] later`). drop-untagged: a pattern (`* EXISTS`)."""
    octets: int = 1
    """truncate: how many of the literal or block still come. corrupt: how many are changed."""
    bytes_per_second: int = 0
    """throttle: how fast replies come."""
    section: str = "imail"
    """jam: the critical section that is held until released."""

    def __post_init__(self) -> None:
        """Raises FaultError."""
        stages = STAGES.get(self.verb)
        if stages is None:
            raise FaultError(f"unknown verb {self.verb!r}: {close_to(self.verb, STAGES)}")
        if not self.stage:
            object.__setattr__(self, "stage", stages[0])
        if self.stage not in stages and not (self.verb == "hang" and "." in self.stage):
            raise FaultError(f"{self.verb} cannot strike at stage {self.stage!r}: use {', '.join(stages)}")
        if self.protocol not in PROTOCOLS and not any(fnmatchcase(name, self.protocol) for name in PROTOCOLS):
            raise FaultError(f"no protocol {self.protocol!r}: {close_to(self.protocol, PROTOCOLS)}")
        if self.per not in ("server", "session"):
            raise FaultError(f"per={self.per}: occasions are counted per server or per session")
        self._check_numbers()
        for name, (verbs, default) in _BELONGS_TO.items():
            if self.verb not in verbs and getattr(self, name) != default:
                raise FaultError(f"{self.verb} has no {name}: it belongs to {', '.join(verbs)}")

    def _check_numbers(self) -> None:
        for name, least in (("nth", 1), ("times", 0), ("session", 0), ("octets", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise FaultError(f"{name}={value}: a whole number from {least} on is needed")
        if not 1 <= self.one_in < 1e9:
            raise FaultError(f"one_in={self.one_in:g}: a number from 1 on is needed")
        if self.one_in == int(self.one_in):
            object.__setattr__(self, "one_in", int(self.one_in))
        if not 0 <= self.seconds <= _SECONDS_MAX:
            raise FaultError(f"seconds={self.seconds}: use 0 to {_SECONDS_MAX:g}")
        if self.verb == "delay" and not self.seconds:
            raise FaultError("delay needs seconds, as in: delay command=RCPT seconds=0.5")
        if self.verb == "throttle" and self.bytes_per_second < 1:
            raise FaultError("throttle needs bytes_per_second, as in: throttle command=RETR bytes_per_second=1000")
        if self.message != "*" and self.stage != STAGE_STORE:
            raise FaultError("message= is known at stage=store only; other stages have arguments=")
        if self.verb == "drop-untagged" and "imap" not in matching_protocols(self.protocol):
            raise FaultError("drop-untagged is for imap: only IMAP has untagged responses")

    # --- forms --------------------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """The verb and what differs from its defaults: for JSON, TOML and the line."""
        found = {"verb": self.verb}
        for item in fields(self):
            value, default = getattr(self, item.name), item.default
            if item.name == "stage":
                default = STAGES[self.verb][0]
            if item.name != "verb" and value != default:
                found[item.name] = value
        return found

    def __str__(self) -> str:
        settings = self.as_dict()
        return " ".join([str(settings.pop("verb")), *(f"{key}={shlex.quote(str(v))}" for key, v in settings.items())])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fault:
        """Raises FaultError."""
        known = {item.name: item for item in fields(cls)}
        arguments: dict[str, Any] = {}
        for key, value in values.items():
            name = str(key).replace("-", "_")
            item = known.get(name)
            if item is None:
                raise FaultError(f"unknown setting {key!r} of a fault: {close_to(name, known)}")
            arguments[name] = _converted(name, str(item.type), value)
        if "verb" not in arguments:
            raise FaultError(f"a fault needs a verb: {', '.join(STAGES)}")
        arguments["verb"] = arguments["verb"].replace("_", "-")
        return cls(**arguments)

    @classmethod
    def from_text(cls, line: str) -> Fault:
        """`VERB KEY=VALUE …`, quoted as in a shell. Raises FaultError."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise FaultError(f"fault {line!r}: {error}") from None
        if not words:
            raise FaultError(f"a fault needs a verb: {', '.join(STAGES)}")
        values: dict[str, Any] = {"verb": words[0]}
        for word in words[1:]:
            key, equals, value = word.partition("=")
            if not equals or not _KEY.fullmatch(key):
                raise FaultError(f"fault {line!r}: write KEY=VALUE instead of {word!r}")
            values[key] = value
        return cls.from_dict(values)

    def pinned(self, session: int, nth: int) -> Fault:
        """The same fault for exactly one occasion of one session: what a recording is made of."""
        seed = self.seed if self.verb == "corrupt" else 0  # elsewhere it only chooses occasions
        return replace(self, session=session, nth=nth, times=1, per="session", one_in=1, seed=seed)


def _converted(name: str, kind: str, value: Any) -> Any:
    try:
        if kind == "int" and not isinstance(value, bool):
            return int(str(value))
        if kind == "float" and not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError):
        raise FaultError(f"{name}={value!r}: a number is needed") from None
    if kind == "str" and isinstance(value, str):
        return value
    raise FaultError(f"{name}={value!r}: {'text' if kind == 'str' else 'a number'} is needed")


def matching_protocols(pattern: str) -> tuple[str, ...]:
    """The protocols that a pattern names."""
    return tuple(name for name in PROTOCOLS if fnmatchcase(name, pattern))


def read_script(text: str) -> list[Fault]:
    """The faults of a TOML file: `[[fault]]` tables, or an array `faults` of lines. Raises FaultError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FaultError(f"the fault script is not TOML: {error}") from None
    tables, lines = document.get("fault", []), document.get("faults", [])
    if not isinstance(tables, list) or not isinstance(lines, list) or set(document) - {"fault", "faults"}:
        raise FaultError('a fault script has [[fault]] tables, or faults = ["VERB KEY=VALUE …"]')
    found = []
    for number, item in enumerate((*tables, *lines), 1):
        try:
            found.append(_of_any(item))
        except FaultError as problem:
            raise FaultError(f"fault {number} of the script: {problem}") from None
    if not found:
        raise FaultError("the fault script has no fault: write [[fault]] and below it verb = ...")
    return found


def _of_any(item: object) -> Fault:
    if isinstance(item, Mapping):
        return Fault.from_dict(item)
    if isinstance(item, str):
        return Fault.from_text(item)
    raise FaultError(f"{item!r} is no fault: write a table or a line")


def write_script(faults: Iterable[Fault]) -> str:
    """The faults as a TOML file that `read_script` reads."""
    return "\n".join(_table(fault) for fault in faults)


def _table(fault: Fault) -> str:
    lines = ["[[fault]]"]
    for key, value in fault.as_dict().items():
        lines.append(f"{key} = {_toml_string(value) if isinstance(value, str) else value}")
    return "\n".join(lines) + "\n"


def _toml_string(text: str) -> str:
    out = []
    for character in text:
        if character in '"\\':
            out.append("\\" + character)
        elif ord(character) < 32 or ord(character) == 127:
            out.append(f"\\u{ord(character):04X}")
        else:
            out.append(character)
    return '"' + "".join(out) + '"'
