"""Named components: the one place that turns a class into a name and a name into a class."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
C = TypeVar("C")


_NAMES: dict[Any, str] = {}
"""The names of all registered components, whatever the registry."""


def registered_name(component: Any) -> str:
    """The name under which a class or function is registered, for messages; its own name if it is not."""
    name: str = _NAMES.get(component) or component.__name__
    return name


@functools.lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """``MyPredictor``, ``my-predictor`` and ``my_predictor`` are all ``my_predictor``."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name.replace("-", "_"))
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().replace("__", "_")


def unknown_name(kind: str, name: str, allowed: list[str]) -> str:
    """The message for a name that nobody knows: what it was, what is allowed, the nearest."""
    message = f"unknown {kind} {name!r}; registered: {', '.join(sorted(allowed)) or 'none'}."
    meant = snake_case(name)
    near = difflib.get_close_matches(meant, allowed, n=5, cutoff=0.5)
    # difflib sees two letters swapped as two mistakes: a name of the same letters comes first.
    near.sort(key=lambda known: sorted(known) != sorted(meant))
    return f"{message} Did you mean {near[0]!r}?" if near else message


class Registry(Generic[T]):
    """Classes by name. Registration and look-up normalise the name in the same way.

    >>> register_animal = Registry("animal")
    >>> @register_animal
    ... class HouseCat: ...
    >>> register_animal["house_cat"] is register_animal["HouseCat"] is HouseCat
    True
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Any] = {}
        self._provider: Callable[[], object] | None = None

    def provided_by(self, provider: Callable[[], object]) -> None:
        """Have ``provider`` import the modules that register a package's own classes, at the first look-up.

        Importing the registry alone is then cheap. What the provider's package registers does not wait for it;
        another's class does, so that a name which the package takes is refused at once.
        """
        self._provider = provider

    def _complete(self) -> None:
        provider, self._provider = self._provider, None
        if provider is not None:
            try:
                provider()
            except BaseException:
                self._provider = provider
                raise

    @overload
    def __call__(self, cls: C) -> C: ...
    @overload
    def __call__(self, cls: None = None, *, name: str) -> Callable[[C], C]: ...
    def __call__(self, cls: Any = None, *, name: str | None = None) -> Any:
        """Decorate a class: bare (named after the class) or with ``name=``.

        Raises:
            ValueError: another class already has the name.
        """
        if cls is None:
            return lambda decorated: self._add(decorated, name)
        return self._add(cls, name)

    def _add(self, cls: Any, name: str | None) -> Any:
        if self._provider is not None and not cls.__module__.startswith(f"{self._provider.__module__}."):
            self._complete()
        key = snake_case(name or cls.__name__)
        held = self._entries.get(key)
        # The same definition read again, as a plugin is by a second build, replaces itself.
        if held is not None and (held.__module__, held.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"{self.kind} {key!r} is already registered by {held.__module__}.{held.__qualname__}; "
                f"register {cls.__module__}.{cls.__qualname__} under another name=."
            )
        self._entries[key] = cls
        _NAMES[cls] = key
        return cls

    def __getitem__(self, name: str) -> Any:
        """Look a class up.

        Raises:
            ValueError: the name is unknown; the message lists what is registered and the nearest.
        """
        self._complete()
        key = snake_case(name)
        if key not in self._entries:
            raise ValueError(unknown_name(self.kind, name, list(self._entries)))
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(sorted(self._entries))

    def __contains__(self, name: str) -> bool:
        self._complete()
        return snake_case(name) in self._entries

    def name_of(self, cls: object) -> str:
        """The name under which a class is registered (the reverse look-up)."""
        self._complete()
        return next(name for name, held in self._entries.items() if held is cls)
