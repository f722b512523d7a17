"""Type hints of a component's parameters, and what a hint says of the values that it allows."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from sde_lib.ranges import Range


@dataclass(frozen=True)
class Declared:
    """What a type hint says."""

    type: Any = object
    optional: bool = False
    choices: tuple[Any, ...] | None = None
    range: Range | None = None
    element: Any = object


def declared(hint: Any) -> Declared:
    """What a hint says: its bare type, whether None is allowed, its choices, its range and its elements' type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [extra for extra in arguments[1:] if isinstance(extra, Range)]
        inner = declared(arguments[0])
        return dataclasses.replace(inner, range=ranges[-1]) if ranges else inner
    if origin is Literal:
        choices = tuple(choice for choice in arguments if choice is not None)
        return Declared(_union([type(c) for c in choices]), None in arguments, choices)
    if origin is Union or origin is types.UnionType:
        members = [declared(member) for member in arguments if member is not type(None)]
        choices = tuple(c for m in members for c in m.choices or ())
        return Declared(
            _union([m.type for m in members]),
            type(None) in arguments or any(m.optional for m in members),
            choices if all(m.choices is not None for m in members) else None,
            next((m.range for m in members if m.range is not None), None),
            next((m.element for m in members if m.element is not object), object),
        )
    kind = origin or hint
    if not isinstance(kind, type) or kind is Any:
        return Declared()
    if issubclass(kind, Sequence) and not issubclass(kind, (str, bytes)):
        elements = [declared(argument) for argument in arguments if argument is not ...]
        bare = _union([e.type for e in elements]) if elements else object
        ranges = [e.range for e in elements if e.range is not None]
        return Declared(tuple, range=ranges[0] if ranges else None, element=bare)
    return Declared(kind)


def _union(kinds: Sequence[Any]) -> Any:
    unique = list(dict.fromkeys(kinds))
    if object in unique:
        return object
    return functools.reduce(lambda a, b: a | b, unique)


def hints_of(factory: Any) -> dict[str, Any]:
    """The type hints of a factory's parameters, ``Annotated`` included."""
    by_constructor = inspect.isclass(factory) and not dataclasses.is_dataclass(factory)
    annotated = factory.__init__ if by_constructor else factory
    try:
        return get_type_hints(annotated, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        # One hint that cannot be resolved must not hide the others.
        return {name: hint for scope in _scopes(annotated) for name, hint in _resolved(*scope)}


def _scopes(annotated: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Annotations and the names that they may use: of a function, or of each class from the most basic."""
    if inspect.isclass(annotated):
        for base in reversed(annotated.__mro__):
            module = sys.modules.get(base.__module__)
            yield inspect.get_annotations(base), dict(vars(module)) if module else {}
    else:
        function = inspect.unwrap(annotated)
        yield inspect.get_annotations(function), getattr(function, "__globals__", {})


def _resolved(annotations: dict[str, Any], names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, hint in annotations.items():
        holder = types.SimpleNamespace(__annotations__={name: hint})
        try:
            yield name, get_type_hints(holder, names, include_extras=True)[name]
        except (NameError, AttributeError, TypeError, SyntaxError):
            yield name, object
