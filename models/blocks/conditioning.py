"""What a network is told beside state and time: it takes all of it, or refuses it by name."""

from __future__ import annotations

from collections.abc import Mapping


def refuse_unknown(cond: Mapping[str, object], allowed: str) -> None:
    """Refuse conditioning that would be ignored.

    Args:
        cond: what is left when the network has taken its own, by name.
        allowed: what the network takes, for the message.

    Raises:
        ValueError: naming it and what the network takes.
    """
    if cond:
        raise ValueError(f"unknown conditioning {', '.join(sorted(cond))}; this network takes {allowed}.")
