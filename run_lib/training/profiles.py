"""Snapshots of power-function averages, and the averages that are made of them after training."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torch import Tensor

from models.checkpoints.reader import read_payload
from models.power_average import coefficients, exponent
from run_lib.files import as_json
from run_lib.training.checkpoints import step_file, steps_in
from run_lib.training.state import TrainState

FORMAT = "score-pc averages 1"


@dataclass(frozen=True)
class Snapshot:
    """Averages of several widths after the same updates.

    Attributes:
        step: training steps done.
        updates: of the averages; less than ``step`` where steps were skipped.
        averages: relative width -> weights by name.
        config: of the training, JSON.
        classes: names of the classes, in the order of the labels.
    """

    step: int
    updates: int
    averages: Mapping[float, Mapping[str, Tensor]]
    config: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class AverageFiles(abc.ABC):
    """Snapshots of averages in a folder, one or several files for each step."""

    folder: Path

    @abc.abstractmethod
    def path(self, step: int) -> Path:
        """A file of a step."""

    @abc.abstractmethod
    def steps(self) -> list[int]:
        """Steps of which there is one, ascending."""

    @abc.abstractmethod
    def read(self, step: int) -> Snapshot:
        """One of them, on the CPU."""

    def read_up_to(self, step: int) -> Iterator[Snapshot]:
        """Those of the steps up to the given one whose averages hold anything, one at a time."""
        for found in self.steps():
            if found <= step and (one := self.read(found)).updates:
                yield one


@final
@dataclass(frozen=True)
class Snapshots(AverageFiles):
    """The snapshots of a work directory: ``profiles/step_00001000.pt``."""

    def path(self, step: int) -> Path:
        return step_file(self.folder, step)

    def steps(self) -> list[int]:
        return steps_in(self.folder)

    def save(self, state: TrainState, config: Mapping[str, Any]) -> None:
        """Write the averages of this step, whole or not at all."""
        weights = state.weights
        held = {
            "format": FORMAT,
            "step": weights.step,
            "classes": list(weights.classes),
            "config": as_json(dict(config)),
            "averages": {width: kept.state_dict() for width, kept in weights.profiles.items()},
        }
        state.team.write(self.path(weights.step), held)

    def read(self, step: int) -> Snapshot:
        """One of them, on the CPU.

        Raises:
            DamagedCheckpointError: the file is truncated or altered.
            ValueError: it is another file, or its averages did not begin at the same step.
        """
        path = self.path(step)
        held = read_payload(path)
        if not isinstance(held, Mapping) or held.get("format") != FORMAT:
            raise ValueError(f"{path} holds no snapshot of averages ({FORMAT!r}): move it elsewhere.")
        counts = {int(kept["num_updates"]) for kept in held["averages"].values()}
        if len(counts) != 1:
            raise ValueError(
                f"{path} has averages that began at different steps, as model.ema_stds was changed by resume_anyway: "
                f"no others can be made of them. Move the folder {self.folder} elsewhere and train on."
            )
        averages = {float(width): kept["shadow"] for width, kept in held["averages"].items()}
        return Snapshot(int(held["step"]), counts.pop(), averages, held["config"], tuple(held["classes"]))


def reconstruct(snapshots: AverageFiles, step: int, widths: Sequence[float]) -> list[dict[str, Tensor]]:
    """The averages of the given relative widths at a step, from the snapshots up to it.

    Karras et al. 2024, section 3.2 and appendix C. The files are read twice, one at a time: for their
    times, and for their weights.

    Args:
        snapshots: of a training.
        step: of one of them.
        widths: of the averages to make.

    Returns:
        Their weights by name, float32, in the order of the widths.
    """
    times = [(one.updates, tuple(one.averages)) for one in snapshots.read_up_to(step)]
    kept = [(float(updates), exponent(width)) for updates, held in times for width in held]
    end = float(times[-1][0])
    shares = [iter(coefficients(kept, (end, exponent(width)))) for width in widths]
    found: list[dict[str, Tensor]] = [{} for _ in widths]
    for one in snapshots.read_up_to(step):
        for held in one.averages.values():
            for share, total in zip(shares, found, strict=True):
                _add(total, held, next(share))
    return [{name: value.float() for name, value in total.items()} for total in found]


def _add(total: dict[str, Tensor], weights: Mapping[str, Tensor], share: float) -> None:
    """Add a share of some weights; shares are of both signs and large, so in float64."""
    for name, value in weights.items():
        part = value.double() * share
        total[name] = total[name] + part if name in total else part
