"""The files of checkpoints: which there are, which stay, and what one must hold."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch

from models.checkpoints.damage import DamagedCheckpointError
from models.checkpoints.ours import CHECKPOINT as FORMAT
from models.checkpoints.reader import read_payload


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of one of our checkpoints, tensors on the CPU, nothing executed.

    Raises:
        DamagedCheckpointError: the file is truncated or altered; the message names the checkpoint before it.
        ValueError: the file is missing or of another format, or lacks an entry.
    """
    if not path.is_file():
        raise ValueError(
            f"there is no checkpoint {path}: --mode train makes them, and the folder has those there are."
        )
    try:
        payload = read_payload(path)
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            path,
            error.reason,
            f"{path} is truncated or no checkpoint ({path.stat().st_size} bytes): it {error.reason}. "
            f"{_instead(path)}",
        ) from None
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise ValueError(
            f"{path} is no checkpoint of ours ({FORMAT!r}); published weights load by config.init_from."
        )
    lacking = [name for name, kind in _ENTRIES.items() if not isinstance(payload.get(name), kind)]
    lacking = lacking or _wrong_parts(payload)
    if lacking:
        raise ValueError(
            f"{path} lacks {', '.join(lacking)} of what a checkpoint holds, or has something else in the place. "
            f"{_instead(path)}"
        )
    return payload


_ENTRIES: dict[str, type] = {
    "step": int,
    "model": dict,
    "ema": dict,
    "optimizer": dict,
    "averages": dict,
    "scaler": dict,
    "times": dict,
    "config": str,
}


def _wrong_parts(payload: Mapping[str, Any]) -> list[str]:
    """Entries that have the right type, and something else in them than weights, averages and moments."""
    model, optimizer, wrong = payload["model"], payload["optimizer"], []
    if not _are_weights(model):
        return ["model"]
    averages = {"ema": payload["ema"], **{f"averages[{r!r}]": a for r, a in payload["averages"].items()}}
    profiles = payload.get("profiles", {})  # checkpoints of earlier versions have none
    if not isinstance(profiles, dict):
        return ["profiles"]
    averages |= {f"profiles[{width!r}]": a for width, a in profiles.items()}
    for name, average in averages.items():
        shadow = average.get("shadow") if isinstance(average, dict) else None
        counted = isinstance(average, dict) and isinstance(average.get("num_updates"), int)
        if not (counted and _are_weights(shadow) and _same_shapes(shadow, model)):
            wrong.append(name)
    classes = payload.get("classes", [])  # checkpoints of earlier versions have none
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        wrong.append("classes")
    if not _are_weights(payload.get("learned", {})):  # likewise
        wrong.append("learned")
    groups = optimizer.get("param_groups")
    if not isinstance(optimizer.get("state"), dict) or not isinstance(groups, list) or not groups:
        wrong.append("optimizer")
    return wrong


def _same_shapes(shadow: Mapping[str, torch.Tensor], model: Mapping[str, torch.Tensor]) -> bool:
    return all(name in model and value.shape == model[name].shape for name, value in shadow.items())


def _are_weights(value: Any) -> TypeGuard[dict[str, torch.Tensor]]:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items()
    )


def _instead(path: Path) -> str:
    """What to do without this checkpoint: go on from the one before it, where there is one."""
    folder = Checkpoints(path.parent)
    before = [folder.path(step) for step in folder.steps() if folder.path(step).name < path.name]
    if path.parent.name == "checkpoints" and before:
        return f"{before[-1].name} remains: move the damaged file elsewhere to go on from that one."
    return "No earlier checkpoint lies beside it: use another copy, or train anew in another --workdir."


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of ours, by the first bytes of its pickle; one that cannot be read is not."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with zipfile.ZipFile(path) as held:
            (pickled,) = [name for name in held.namelist() if name.endswith("/data.pkl")]
            with held.open(pickled) as stream:
                return FORMAT.encode() in stream.read(256)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def step_file(folder: Path, step: int) -> Path:
    """The file of a step in a folder of them."""
    return folder / f"step_{step:08d}.pt"


def steps_in(folder: Path) -> list[int]:
    """The steps of which there is a file, ascending."""
    matches = (re.fullmatch(r"step_(\d{8,})\.pt", p.name) for p in folder.glob("step_*.pt"))
    return sorted(int(m.group(1)) for m in matches if m)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a work directory: ``checkpoints/step_00001000.pt``."""

    folder: Path

    def _is_own(self, step: int) -> bool:
        """Whether training wrote the file; a link is somebody else's."""
        return not self.path(step).is_symlink() and is_checkpoint(self.path(step))

    def path(self, step: int) -> Path:
        return step_file(self.folder, step)

    def grids(self, checkpoint: Path) -> Path:
        """The file of its optimised time grids."""
        return checkpoint.with_suffix(".grids.json")

    def steps(self) -> list[int]:
        """Steps for which there is a file, ascending."""
        return steps_in(self.folder)

    def latest(self) -> Path | None:
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def keep(self, multiple_of: int, regular: int, *, last: int = 2, best: int | None = None) -> None:
        """Delete all but the last few and those whose step is a multiple of ``multiple_of``.

        Should the latest be damaged, training goes on from the one before it. One that a signal left between the
        regular steps goes with the next, so that an interrupted run ends with the files of one that was not. What is
        no checkpoint of ours stays.

        Args:
            multiple_of: number of steps between checkpoints that stay.
            regular: number of steps between the others.
            last: how many of the last ones stay.
            best: a step whose checkpoint stays; None: no other.
        """
        steps = self.steps()
        between = [step for step in steps[:-1] if step % multiple_of and step % regular]
        staying = {*[step for step in steps if step not in between][-last:], best}
        for step in steps:
            if step not in staying and step % multiple_of and self._is_own(step):
                self.path(step).unlink()
                self.grids(self.path(step)).unlink(missing_ok=True)
