"""A network of ours, as a file of weights describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.checkpoints.diffusers_schedule import NoiseSchedule


@dataclass(frozen=True)
class Architecture:
    """A network of ours by its registered name, and its constructor's arguments.

    Attributes:
        name: of the network.
        arguments: of its constructor.
        preconditioning: registered name of what wraps it; None: nothing does.
        wrapping: arguments of the wrapper.
    """

    name: str
    arguments: Mapping[str, Any]
    preconditioning: str | None = None
    wrapping: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Described:
    """What a file tells of its network beside the weights.

    Attributes:
        architecture: of the network.
        schedule: the process; None: the file does not tell it.
        label_dropout: share of labels that were withheld in training; where there are any and the network needs one,
            its last class stands for none.
        untold: what the file does not tell, each a sentence.
        guessed: names of the arguments among it: of what is published, or of no effect on what the network computes.
    """

    architecture: Architecture
    schedule: NoiseSchedule | None = None
    label_dropout: float = 0.0
    untold: tuple[str, ...] = ()
    guessed: frozenset[str] = frozenset()
