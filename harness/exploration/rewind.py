"""Rewinding: put everything that is reachable from some objects back to what it was, instead of making it anew.

An explorer runs a program from its beginning thousands of times a second, and building the system under test takes as
long as running it. A `Rewinder` walks the object graph once and remembers the content of every mutable object: items of
containers, attributes, variables that closures share. It knows no class of the system, so a field that is added
tomorrow is rewound as well; an object of a type that it cannot rewind (a generator, a random generator, a handle of the
operating system) is refused when the walk finds it, never passed over.
"""

from __future__ import annotations

import contextvars
import enum
import functools
import re
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import compress
from operator import ne
from typing import Any, Final

_VALUES: Final = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    type,
    enum.Enum,
    re.Pattern,
    types.BuiltinFunctionType,
    types.CodeType,
    types.ModuleType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    contextvars.Context,
    contextvars.ContextVar,
    weakref.ref,
    type(...),
    type(NotImplemented),
)
"""What never changes (or, a context, holds nothing of the system that is explored)."""

_CONTAINERS: Final[tuple[Any, ...]] = (list, bytearray, OrderedDict, dict, set, deque)
_EMPTY: Final = object()


_exhaust: Final = deque[Any](maxlen=0).extend
"""Go through an iterator and keep nothing of it."""


class NotRewindableError(TypeError):
    """The walk met an object that has a state of its own which cannot be put back."""


class Rewinder:
    """`rewind()` puts back what is reachable from `roots` as it is now. `opaque`: types that are left alone.

    Raises NotRewindableError.
    """

    def __init__(self, roots: Iterable[object], *, opaque: tuple[type, ...] = (), keep: Iterable[object] = ()) -> None:
        """`keep`: objects that are not rewound, since what they remember is the same in every execution."""
        self._opaque = (*_VALUES, *opaque)
        self._seen: dict[int, object] = {id(each): each for each in keep}  # keeps all of them alive, so ids are exact
        self._empty: tuple[list[tuple[Any, Callable[[Any], None]]], list[Any]] = ([], [])
        self._lists: list[tuple[Any, Any]] = []
        self._dicts: tuple[list[dict[Any, Any]], list[dict[Any, Any]]] = ([], [])
        self._ordered: list[tuple[OrderedDict[Any, Any], list[tuple[Any, Any]]]] = []
        self._sets: list[tuple[set[Any], set[Any]]] = []
        self._deques: list[tuple[deque[Any], list[Any]]] = []
        self._attributes: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        self._cells: list[tuple[types.CellType, Any]] = []
        self._slots: tuple[list[Any], list[str], list[Any]] = ([], [], [])
        self._unset: list[tuple[Any, str]] = []
        waiting = list(roots)
        while waiting:
            each = waiting.pop()
            if id(each) not in self._seen and not isinstance(each, self._opaque):
                self._seen[id(each)] = each
                waiting.extend(self._remember(each))

    def __len__(self) -> int:
        """How many objects were found."""
        return len(self._seen)

    def rewind(self) -> None:
        """Put everything back. The loops run in C where they can: there are hundreds of objects."""
        for container, clear in compress(*self._empty):
            clear(container)
        for array, items in self._lists:
            array[:] = items
        _exhaust(map(dict.clear, self._dicts[0]))
        _exhaust(map(dict.update, *self._dicts))
        for ordered, pairs in self._ordered:
            OrderedDict.clear(ordered)
            for key, value in pairs:
                OrderedDict.__setitem__(ordered, key, value)
        for members, content_of_set in self._sets:
            set.clear(members)
            set.update(members, content_of_set)
        for queue, items in self._deques:
            deque.clear(queue)
            deque.extend(queue, items)
        attributes, values = self._attributes
        _exhaust(map(dict.update, attributes, values))
        grown = map(ne, map(len, attributes), map(len, values))
        for present, known in compress(zip(attributes, values, strict=True), grown):
            for name in [name for name in present if name not in known]:
                del present[name]
        _exhaust(map(setattr, *self._slots))
        for cell, value in self._cells:
            cell.cell_contents = value
        for owner, name in self._unset:
            if getattr(owner, name, _EMPTY) is not _EMPTY:
                delattr(owner, name)

    # --- the walk -----------------------------------------------------------------------------------------------------

    def _remember(self, each: Any) -> Iterator[object]:
        """Note the content of an object; gives what it refers to."""
        if isinstance(each, tuple | frozenset):
            yield from each
        elif isinstance(each, types.FunctionType):
            yield from self._function(each)
        elif isinstance(each, types.MethodType):
            yield from (each.__self__, each.__func__)
        elif isinstance(each, functools.partial):
            yield from (each.func, each.args, each.keywords)
        elif isinstance(each, types.CellType):
            content = each.cell_contents
            self._cells.append((each, content))
            yield content
        else:
            known = yield from self._container(each)
            attributes = yield from self._fields(each)
            empty = not known and not attributes and type(each) is not object
            if empty or any(_is_native(base) for base in type(each).__mro__):
                raise NotRewindableError(f"{type(each).__module__}.{type(each).__qualname__} cannot be rewound")

    def _container(self, each: Any) -> Generator[object, None, bool]:
        """Items; the result tells whether it is a container."""
        kind = next((kind for kind in _CONTAINERS if isinstance(each, kind)), None)
        if kind is None:
            return False
        if hasattr(each, "default_factory"):
            yield each.default_factory
        if not kind.__len__(each):
            _append(self._empty, (each, kind.clear), each)
        elif isinstance(each, list | bytearray):
            self._lists.append((each, each[:]))
            if isinstance(each, list):
                yield from each[:]
        elif isinstance(each, OrderedDict):
            pairs = list(each.items())
            self._ordered.append((each, pairs))
            yield from pairs
        elif isinstance(each, dict):
            content = dict(each.items())
            _append(self._dicts, each, content)
            yield from content
            yield from content.values()
        elif isinstance(each, set):
            self._sets.append((each, set(each)))
            yield from each
        else:
            items = list(each)
            self._deques.append((each, items))
            yield from items
        return True

    def _fields(self, each: Any) -> Generator[object, None, bool]:
        """Attributes in slots and in the instance's dictionary; the result tells whether it can have any."""
        found = False
        frozen = getattr(getattr(type(each), "__dataclass_params__", None), "frozen", False)
        for owner in type(each).__mro__:
            names = owner.__dict__.get("__slots__")
            for name in () if names is None else (names,) if isinstance(names, str) else names:
                found = True
                private = name.startswith("__") and not name.endswith("__")
                member = owner.__dict__.get(f"_{owner.__name__.lstrip('_')}{name}" if private else name)
                if not isinstance(member, types.MemberDescriptorType):
                    continue
                value = _value_of(member, each)
                if value is not _EMPTY:
                    yield value
                if value is _EMPTY:
                    self._unset.append((each, member.__name__))
                elif not frozen:
                    if _is_shadowed(member, type(each)):
                        raise NotRewindableError(f"{owner.__qualname__}.{name} is set in a way of its own")
                    _append(self._slots, each, member.__name__, value)
            found = found or names is not None
        attributes = getattr(each, "__dict__", None)
        if isinstance(attributes, dict):
            found = True
            values = dict(attributes)
            _append(self._attributes, attributes, values)
            yield from values.values()
        return found

    def _function(self, function: types.FunctionType) -> Iterator[object]:
        yield from (cell for cell in function.__closure__ or () if not _is_empty(cell))
        yield from function.__defaults__ or ()
        yield from (function.__kwdefaults__ or {}).values()


def _append(columns: tuple[list[Any], ...], *values: object) -> None:
    for column, value in zip(columns, values, strict=True):
        column.append(value)


def _is_shadowed(member: types.MemberDescriptorType, kind: Any) -> bool:
    """Would `setattr` do something else than set this slot?"""
    return kind.__setattr__ is not object.__setattr__ or getattr(kind, member.__name__, None) is not member


def _is_native(base: type) -> bool:
    """Is it a class written in C that may keep a state where no attribute shows it?"""
    made = isinstance(base.__dict__.get("__new__"), types.BuiltinFunctionType)
    return made and base is not object and base not in _CONTAINERS and base not in (Counter, defaultdict)


def _value_of(member: types.MemberDescriptorType, owner: object) -> object:
    try:
        return member.__get__(owner)
    except AttributeError:
        return _EMPTY


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where it has none yet
    except ValueError:
        return True
    return False
