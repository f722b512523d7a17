"""What a component needs of a process, said in its type: ``class DDIM(Predictor[GaussianProcess])``.

A component whose class takes a process as its type argument is typed by it, and the same argument is its ``needs``,
against which an experiment is checked when it is built. A class may set ``needs`` itself instead.
"""

from __future__ import annotations

from typing import Any, get_args, get_origin

from typing_extensions import TypeVar

from sde_lib.base import Process
from sde_lib.registry import registered_name

GivenProcess = TypeVar("GivenProcess", bound=Process, covariant=True, default=Any)
"""The process that a model has: a ``Model[VPSDE]`` serves wherever a ``Model[GaussianProcess]`` is needed."""

NeededProcess = TypeVar("NeededProcess", bound=Process, contravariant=True, default=Any)
"""The process that a component needs: a ``Predictor[Process]`` serves wherever a ``Predictor[SDE]`` is asked for."""


def serves(process: Process, component: Any) -> bool:
    """Whether a process has what a component, or a class of such, says in its ``needs``."""
    return isinstance(process, component.needs)


def check_needs(what: str, component: Any, process: Process) -> None:
    """Refuse a process that lacks what a component needs.

    Args:
        what: the component's kind, for the message.
        component: with a ``needs``.
        process: of the model that it works on.

    Raises:
        ValueError: naming the component, what it needs and the process.
    """
    if not serves(process, component):
        raise ValueError(
            f"{what} {registered_name(type(component))!r} needs a process of the kind {component.needs.__name__}, "
            f"which {type(process).__name__} is not."
        )


def declare_needs(cls: Any) -> None:
    """Set ``cls.needs`` to the process among the type arguments of its bases: for ``__init_subclass__``."""
    if "needs" in vars(cls):
        return
    for base in vars(cls).get("__orig_bases__", ()):
        for argument in get_args(base):
            # The argument of a class that is generic itself is a type variable, and says nothing yet.
            if hasattr(get_origin(base), "needs") and isinstance(argument, type):
                cls.needs = argument
