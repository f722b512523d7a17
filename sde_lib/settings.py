"""The settings of a component, read from its signature: types, defaults, ranges, choices and documentation.

A component is a dataclass, a class with a constructor or a function. What its settings may be is said once, in
their types::

    eta: Annotated[float, Range(least=0, most=1)] = 0.0
    norm: Literal["sample", "batch"] = "sample"

and what they mean in the ``Args:`` section of the docstring. ``settings_of`` reads both.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import numbers
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar, get_args

from sde_lib.docstrings import documented
from sde_lib.hints import declared, hints_of
from sde_lib.ranges import Range
from sde_lib.registry import registered_name

__all__ = ["REQUIRED", "Range", "Setting", "check_settings", "checked", "settings_of"]

P = ParamSpec("P")
R = TypeVar("R")


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()
"""The default of a setting that has none."""


@dataclass(frozen=True)
class Setting:
    """One setting of a component.

    Args:
        name: as the component calls it.
        type: the bare Python type: ``float``, ``int``, ``str``, ``bool``, ``tuple`` for any sequence, a union of
            these, or another class, of which values are not checked; ``object`` where the hint cannot be resolved.
        optional: whether None is allowed.
        default: ``REQUIRED`` where there is none.
        choices: the values of a ``Literal``; None: it is no choice.
        range: of a number, or of each element of a sequence; None: any finite number.
        doc: what the component's docstring says of it, in one line; empty where it says nothing.
        element: the bare type of a sequence's elements; ``object`` where it is not declared.
    """

    name: str
    type: Any
    optional: bool = False
    default: Any = REQUIRED
    choices: tuple[Any, ...] | None = None
    range: Range | None = None
    doc: str = ""
    element: Any = object

    def check(self, value: Any, of: str = "") -> Any:
        """The value as the component takes it: an int as a float, a list as a tuple, where these are declared.

        Args:
            value: from a configuration, a command line or Python.
            of: the component's name, for the message.

        Raises:
            ValueError: of a wrong type, not finite, out of the range or none of the choices; the message says which
                setting, its value and what is allowed.
        """
        if value is None and self.optional:
            return None
        name = f"{of}'s {self.name}" if of else self.name
        if self.choices is not None:
            return self._chosen(value, name)
        for kind in _members(self.type):
            found = _as(kind, value)
            if found is not _REFUSED:
                if kind is tuple:
                    return tuple(self._number(_element(self.element, v, name), v, name) for v in found)
                return self._number(found, value, name)
        allowed = " or ".join(_DESCRIPTIONS.get(kind, "") for kind in _members(self.type))
        raise ValueError(f"{name} must be {allowed}{' or None' * self.optional}, got {value!r}.")

    def _chosen(self, value: Any, name: str) -> Any:
        assert self.choices is not None
        # 1, 1.0 and True are equal: the choice itself is what the component knows.
        for choice in self.choices:
            if type(choice) is type(value) and choice == value:
                return choice
        if len(self.choices) == 2:
            allowed = "{!r} or {!r}, ".format(*self.choices)
        else:
            allowed = f"one of {', '.join(map(str, self.choices))}; "
        names = [str(choice) for choice in self.choices]
        near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name} is {allowed}got {value!r}.{hint}")

    def _number(self, found: Any, value: Any, name: str) -> Any:
        """``found``, refused if it is a number out of the range; ``value`` is what was given."""
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            allowed = self.range or _ANY
            if not allowed.contains(found):
                raise ValueError(allowed.refusal(name, value))
        return found


_ANY = Range()
_REFUSED = object()
_DESCRIPTIONS: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a sequence",
}


def _as(kind: Any, value: Any) -> Any:
    """``value`` as one of ``kind``, or ``_REFUSED``."""
    if kind is bool or kind is str:
        return value if isinstance(value, kind) else _REFUSED
    if kind is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return int(value) if whole else _REFUSED
    if kind is float:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return float(value) if real else _REFUSED
    if kind is tuple:
        return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else _REFUSED
    return value


def _element(kind: Any, value: Any, name: str) -> Any:
    for member in _members(kind):
        found = _as(member, value)
        if found is not _REFUSED:
            return found
    raise ValueError(f"{name} holds {_DESCRIPTIONS[_members(kind)[0]]} in each place, got {value!r}.")


def _members(kind: Any) -> tuple[Any, ...]:
    """The members of a union, numbers from the narrowest; else the type itself."""
    if isinstance(kind, types.UnionType):
        order = [bool, int, float]
        return tuple(sorted(get_args(kind), key=lambda k: order.index(k) if k in order else len(order)))
    return (kind,)


def settings_of(factory: Callable[..., Any]) -> tuple[Setting, ...]:
    """The settings of a dataclass, of a class with a constructor or of a function, in the order of its parameters.

    Class variables, ``*args`` and ``**kwargs`` are no settings. A hint that cannot be resolved, as of a name that is
    imported for type checkers only, gives a setting of type ``object``, which takes any value.
    """
    return _settings_of(factory)


@functools.lru_cache(maxsize=1024)
def _settings_of(factory: Callable[..., Any]) -> tuple[Setting, ...]:
    hints, docs = hints_of(factory), documented(factory)
    fields = {f.name: f for f in dataclasses.fields(factory)} if dataclasses.is_dataclass(factory) else {}
    found = []
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = REQUIRED if parameter.default is parameter.empty else parameter.default
        field = fields.get(name)
        if field is not None and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        said = declared(hints.get(name, object))
        found.append(
            Setting(
                name,
                said.type,
                said.optional or default is None,
                default,
                said.choices,
                said.range,
                docs.get(name, ""),
                said.element,
            )
        )
    return tuple(found)


def check_settings(component: Any) -> None:
    """Check every field of a dataclass against its declaration: for its ``__post_init__``.

    Raises:
        ValueError: see ``Setting.check``.
    """
    kind = type(component)
    fields = {field.name for field in dataclasses.fields(component)}
    for setting in settings_of(kind):
        if setting.name in fields:
            setting.check(getattr(component, setting.name), of=registered_name(kind))


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function or a constructor that refuses arguments outside their declarations, as ``check_settings`` does."""

    parameters = inspect.signature(function).parameters.values()
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]

    @functools.wraps(function)
    def with_checks(*args: P.args, **kwargs: P.kwargs) -> R:
        settings = {setting.name: setting for setting in settings_of(function)}
        component: Any = type(args[0]) if args and positional[0] == "self" else with_checks
        # Arguments that are too many or too few are for the function itself to refuse.
        for name, value in (*zip(positional, args, strict=False), *kwargs.items()):
            if name in settings:
                settings[name].check(value, of=registered_name(component))
        return function(*args, **kwargs)

    return with_checks
