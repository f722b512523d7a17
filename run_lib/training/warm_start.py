"""Weights to start from: published ones (``init_from``), or a training run to continue (``resume_from``)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.checkpoints.architecture import Described
from models.checkpoints.diffusers import describe_folder
from models.checkpoints.diffusers_folder import is_folder
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.checkpoints.loader import LoadedWeights, described, load_content, read
from models.checkpoints.ours import CHECKPOINT, WEIGHTS
from models.checkpoints.training import TrainingCheckpoint, load_training
from run_lib.training.checkpoints import is_checkpoint
from run_lib.training.state import MACHINE, Check, TrainState, Weights, load_optimizer
from sde_lib.base import GaussianProcess, register_sde

if TYPE_CHECKING:
    from run_lib.config.subject import Subject

_IMAGE = 3
"""Axes of an image: channels, height, width."""


def load_published(subject: Subject) -> tuple[str, ...]:
    """Load the published weights of ``init_from`` into the network, and print which; the optimiser starts afresh.

    Returns:
        the names of the classes that a file of ours knows, in the order of their labels.

    Raises:
        ValueError: as of ``published``.
    """
    found = published(subject)
    print(found.report)
    return found.classes


@dataclass(frozen=True)
class Published:
    """Published weights that have been loaded: what was used of them, and the classes that a file of ours knows."""

    report: LoadedWeights
    classes: tuple[str, ...]


def published(subject: Subject) -> Published:
    """Load the published weights of ``init_from`` into the network.

    Raises:
        ValueError: they are of another network, or (a diffusers folder) were trained with another process.
    """
    source = subject.start.init_from
    folder = describe_folder(source) if is_folder(source) else None
    if folder is not None and folder.schedule is None:
        print(f"{source} has no scheduler's config: its process is taken to be the configuration's")
    elif folder is not None and folder.schedule is not None:
        check_schedule(folder.schedule, subject)
    content = read(source)
    check_recorded(content, source, subject.agreement.check_use)
    with subject.explained(_described(content, subject)):
        report = load_content(subject.network, content, source, ema=subject.start.init_from_ema)
    return Published(report, class_names_in(content))


def _described(content: Any, subject: Subject) -> Described | None:
    """The network of a file of weights of images; None where the file does not tell it."""
    if len(shape := subject.data.shape) != _IMAGE:
        return None
    return described(content, subject.start.init_from, (shape[1], shape[2]))


def resume(state: TrainState, subject: Subject) -> None:
    """Continue the training run of ``resume_from``: its raw and averaged weights, its optimiser and its step.

    The optimiser's settings stay the configuration's; its moments are the file's.

    Raises:
        ValueError: the file has no training run of this network.
    """
    path = Path(subject.start.resume_from)
    if is_checkpoint(path):
        state.load(path, subject.agreement.check_training)
        print(f"continues at step {state.step}, with averaged weights and optimizer")
        return
    found = _resume_published(state.weights, subject)
    moments = {
        place: {**held, "step": torch.as_tensor(float(held["step"]))}
        for place, held in found.optimizer.items()
    }
    groups = state.optimizer.state_dict()["param_groups"]
    load_optimizer(state.optimizer, {"state": moments, "param_groups": groups})
    changed = {
        name: f"{name}={groups[0][name]} (was {was})"
        for name, was in found.settings.items()
        if name not in MACHINE and name in groups[0] and groups[0][name] != was
    }
    if changed:
        print(f"continues with {', '.join(changed.values())} of the optimizer", file=sys.stderr)
    print(f"continues at step {found.step}, with averaged weights and optimizer")


def resume_weights(weights: Weights, subject: Subject) -> None:
    """Load the raw weights, the averaged weights and the step of the training run of ``resume_from``.

    Raises:
        ValueError: the file has no training run of this network, or its configuration gives the weights another
            meaning.
    """
    path = Path(subject.start.resume_from)
    if is_checkpoint(path):
        weights.load(path, subject.agreement.check_use)
    else:
        _resume_published(weights, subject)


def _resume_published(weights: Weights, subject: Subject) -> TrainingCheckpoint:
    """The same of another program's training run; returns its whole content."""
    with subject.explained():
        found = load_training(weights.network, subject.start.resume_from)
    weights.step = found.step
    # The file has one average: those of other rates set out from it.
    for average in (weights.ema, *weights.averages.values()):
        average.num_updates = found.num_updates
        for name, value in average.shadow.items():
            value.copy_(found.averaged[name])
    print(found.report)
    return found


def check_recorded(content: Any, path: str, check: Check) -> None:
    """Check the configuration that a file of ours says its weights were made with; other files have none.

    Args:
        content: of the file.
        path: of it, for messages.
        check: of the configuration.

    Raises:
        ValueError: as the check.
    """
    if _is_ours(content) and isinstance(content.get("config"), str):
        check(Path(path), content["config"])


def class_names_in(content: Any) -> tuple[str, ...]:
    """Names of the classes that a file of ours knows, in the order of their labels; empty for any other file."""
    names = content.get("classes", ()) if _is_ours(content) else ()
    return tuple(map(str, names))


def _is_ours(content: Any) -> bool:
    return isinstance(content, Mapping) and content.get("format") in (CHECKPOINT, WEIGHTS)


def check_schedule(schedule: NoiseSchedule, subject: Subject) -> None:
    """Refuse weights of another process than the configuration's: its labels and noise levels would be wrong.

    Raises:
        ValueError: with the settings that the weights need.
    """
    process, output = subject.training.process, subject.training.output
    theirs = register_sde[schedule.sde](**schedule.arguments)
    if _same(process, theirs) and output == schedule.output:
        return
    fields = {"N": "num_scales", "schedule": "beta_schedule"}
    settings = [
        f"--config.training.sde={schedule.sde}",
        f"--config.training.continuous={schedule.continuous}",
    ]
    settings += [f"--config.model.{fields.get(k, k)}={v}" for k, v in schedule.arguments.items()]
    settings.append(f"--config.model.output={schedule.output}")
    raise ValueError(
        f"{subject.start.init_from} was trained with another process, or to give another output, than the "
        f"configuration's; "
        f"its own is\n  {' '.join(settings)}"
    )


def _same(ours: object, theirs: GaussianProcess) -> bool:
    """Whether two processes have the same noise levels, at indices if they are chains."""
    if not isinstance(ours, GaussianProcess) or ours.start != theirs.start or ours.clean != theirs.clean:
        return False
    times = theirs.time(torch.linspace(0.01, 1, 64, dtype=torch.float64) * theirs.start)
    found, wanted = ours.marginal(times), theirs.marginal(times)
    pairs = ((found.alpha, wanted.alpha), (found.sigma, wanted.sigma))
    return all(torch.allclose(a.cpu(), b, rtol=1e-5) for a, b in pairs)
