"""What a component needs of a process, checked before any work."""

from __future__ import annotations

from sde_lib.base import Process


def need(process: Process, capability: type, what: str) -> None:
    """Refuse a process that cannot do what a component asks.

    Raises:
        ValueError: naming both.
    """
    if not isinstance(process, capability):
        raise ValueError(
            f"{what} needs a process of the kind {capability.__name__}, which {type(process).__name__} is "
            f"not; choose another, or another training.sde."
        )
