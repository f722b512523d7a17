"""Networks that are another one with settings of their own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from typing import Any, Generic, TypeVar, final, get_type_hints

from models.base import Network

N = TypeVar("N", bound=Network)


@final
class Variant(Generic[N]):
    """A network class with other defaults: calling it builds the network.

    ``inspect.signature`` shows the settings that the variant takes, with its defaults, and its docstring
    explains them in the class's words. What a class says of its networks (``Network.output_kind`` and so on)
    a variant says too.

    Args:
        network: the class.
        doc: what the variant is.
        defaults: of settings that can be chosen, where they differ from the class's.
        fixed: settings that make the variant what it is, and that cannot be chosen.
        says: what follows of them of its networks (``Network.spare_label`` and so on), where the class says otherwise.

    Raises:
        TypeError: on a call, with a setting that the variant does not take.

    >>> Wide = Variant(DDPM, "A wide DDPM.", defaults={"channels": 256})
    >>> network = Wide(image_size=64)
    """

    def __init__(
        self,
        network: type[N],
        doc: str,
        *,
        defaults: Mapping[str, Any] | None = None,
        fixed: Mapping[str, Any] | None = None,
        says: Mapping[str, Any] | None = None,
    ) -> None:
        defaults, fixed = dict(defaults or {}), dict(fixed or {})
        parameters = inspect.signature(network).parameters
        unknown = sorted((defaults.keys() | fixed.keys()) - parameters.keys())
        assert not unknown, f"{network.__name__} has no settings {unknown}"
        self.network = network
        self._fixed = fixed
        self._says = dict(says or {})
        self.__signature__ = inspect.Signature(
            [
                parameter.replace(default=defaults.get(name, parameter.default))
                for name, parameter in parameters.items()
                if name not in fixed
            ],
            return_annotation=network,
        )
        self.__annotations__ = get_type_hints(network.__init__, include_extras=True)
        self.__doc__ = "\n\n".join([inspect.cleandoc(doc), _arguments(network, without=fixed)])
        # A network of a variant is of this class, and a report shows its name.
        self.__name__, self.__qualname__ = network.__name__, network.__qualname__
        self.__module__ = network.__module__

    def __call__(self, **settings: Any) -> N:
        chosen = self.__signature__.bind(**settings)
        chosen.apply_defaults()
        return self.network(**chosen.arguments, **self._fixed)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "network" not in self.__dict__:
            raise AttributeError(name)
        return self._says[name] if name in self._says else getattr(self.network, name)


def _arguments(network: type[Network], *, without: Collection[str]) -> str:
    """The ``Args`` section of the docstring of a class or of the one with its constructor, without some arguments."""
    texts = [inspect.cleandoc(source.__doc__ or "") for source in network.__mro__]
    _, _, section = next(text for text in texts if "\nArgs:\n" in text).partition("\nArgs:\n")
    section = re.split(r"\n\n(?=\S)", section)[0]
    entries = re.split(r"\n(?=    \S)", section)
    kept = [entry for entry in entries if entry.strip().partition(":")[0] not in without]
    return "\n".join(["Args:", *kept])
