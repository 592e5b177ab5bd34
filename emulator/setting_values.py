"""Settings by name: `--set FIELD=VALUE`, and TOML files of fields (`--config FILE`).

Every field of `Settings`, `FrontEndSettings`, `Limits` and `Preemption` has a name of its own, so a flat file does.
Values are TOML's; on the command line a bare word is a string, and lists may be written `a,b`.
"""

from __future__ import annotations

import difflib
import json
import tomllib
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from protocols.settings import FrontEndSettings, Limits

from .config import Account, Newsfeed, Settings, SettingsError, parse_account, parse_newsfeed
from .scheduling import Preemption

FILE_BYTES_MAX = 1 << 20
"""A file of settings."""
_PARSERS: dict[type, Callable[[str], Any]] = {Account: parse_account, Newsfeed: parse_newsfeed}
_NESTED: tuple[tuple[type, tuple[str, ...]], ...] = (
    (Settings, ()),
    (FrontEndSettings, ("front_end",)),
    (Limits, ("front_end", "limits")),
    (Preemption, ("preemption",)),
)


def _find_fields() -> dict[str, tuple[tuple[str, ...], Any]]:
    found: dict[str, tuple[tuple[str, ...], Any]] = {}
    for kind, path in _NESTED:
        hints = get_type_hints(kind)
        for item in fields(kind):
            if item.name not in found and not (is_dataclass(hints[item.name])):
                found[item.name] = (path, hints[item.name])
    return found


FIELDS = _find_fields()
"""Each field: the attributes that lead to it from Settings, and its type."""


def set_field(settings: Settings, name: str, value: Any) -> Settings:
    """The same settings with one field changed; `value` as TOML gives it. Raises SettingsError."""
    if name not in FIELDS:
        near = difflib.get_close_matches(name, FIELDS, 1)
        raise SettingsError(f"no setting {name!r}" + (f": did you mean {near[0]}?" if near else ""))
    path, kind = FIELDS[name]
    value = converted(name, kind, value)
    if isinstance(value, int | float) and (value < 0 or (name.endswith("_port") and value > 65535)):
        raise SettingsError(f"setting {name}: {value} is out of range")
    changed: Settings = _replaced(settings, (*path, name), value)
    return changed


def value_of(settings: Settings, name: str) -> Any:
    """The value of a field."""
    found: Any = settings
    for step in (*FIELDS[name][0], name):
        found = getattr(found, step)
    return found


def _replaced(owner: Any, path: tuple[str, ...], value: Any) -> Any:
    inner = value if len(path) == 1 else _replaced(getattr(owner, path[0]), path[1:], value)
    return replace(owner, **{path[0]: inner})


def converted(name: str, kind: Any, value: Any) -> Any:
    """A TOML value as the type of a field wants it. Raises SettingsError."""
    try:
        return _convert(kind, value)
    except SettingsError:
        raise
    except (ValueError, TypeError) as error:
        detail = f" ({error})" if str(error) else ""
        raise SettingsError(f"setting {name}: {value!r} is no {_called(kind)}{detail}") from None


def _convert(kind: Any, value: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() in ("", "none", "off")):
            return None
        return _convert(next(each for each in inner if each is not type(None)), value)
    if origin in (tuple, frozenset):
        return _convert_many(origin, inner, value)
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in _PARSERS:
        return _PARSERS[kind](value) if isinstance(value, str) else kind(**value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError
    return value


def _convert_many(origin: Any, inner: tuple[Any, ...], value: Any) -> Any:
    if isinstance(value, str):
        value = [part for part in value.split(",") if part]
    if not isinstance(value, list | tuple):
        value = [value]
    if origin is frozenset or inner[-1] is Ellipsis:
        return origin(_convert(inner[0], part) for part in value)
    if len(value) != len(inner):
        raise ValueError(f"{len(inner)} parts are wanted")
    return tuple(_convert(each, part) for each, part in zip(inner, value, strict=True))


def _called(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (tuple, frozenset):
        if origin is tuple and inner[-1] is not Ellipsis:
            return " and ".join(map(_called, inner))
        return f"list of {_called(inner[0])}"
    if origin is not None:
        return " or ".join("none" if each is type(None) else _called(each) for each in inner)
    names: dict[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "string"}
    return names.get(kind) or str(kind.__name__).lower()


def parse_assignment(text: str) -> tuple[str, Any]:
    """`FIELD=VALUE`: a TOML value, or a bare word. Raises SettingsError."""
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise SettingsError(f"--set {text!r}: write FIELD=VALUE, as in --set smtp_greeting_seconds=2")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return name.strip(), value


def read_file(path: Path) -> dict[str, Any]:
    """The fields of a TOML file; tables `[front_end]`, `[limits]` and `[preemption]` are for the reader's eye alone.

    Raises SettingsError.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(FILE_BYTES_MAX + 1)
        if len(octets) > FILE_BYTES_MAX:
            raise SettingsError(f"--config {path}: larger than {FILE_BYTES_MAX} octets")
        tables = tomllib.loads(octets.decode("utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {path}: {error.strerror or error}") from error
    except ValueError as error:  # TOML or UTF-8
        raise SettingsError(f"--config {path}: {error}") from error
    found: dict[str, Any] = {}
    for name, value in tables.items():
        if name in ("front_end", "limits", "preemption") and isinstance(value, Mapping):
            found.update(value)
        else:
            found[name] = value
    return found


def toml_lines(settings: Settings) -> list[str]:
    """All fields as a TOML file that `read_file` understands; fields that are None are left as remarks."""
    found = []
    for name in FIELDS:
        value = value_of(settings, name)
        found.append(f"# {name} = none" if value is None else f"{name} = {_toml(value)}")
    return found


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple | frozenset):
        parts = sorted(value) if isinstance(value, frozenset) else value
        return f"[{', '.join(map(_toml, parts))}]"
    if is_dataclass(value) and not isinstance(value, type):
        parts = [f"{item.name} = {_toml(getattr(value, item.name))}" for item in fields(value)]
        return "{ " + ", ".join(parts) + " }"
    # a basic string of TOML escapes as JSON does, but for DEL
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
