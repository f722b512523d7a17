"""Weights to start from: published ones (``init_from``), or a training run to continue (``resume_from``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.checkpoints import load_training, load_weights
from models.checkpoints.diffusers import describe_folder
from models.checkpoints.diffusers_folder import is_folder
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.checkpoints.training import TrainingCheckpoint
from run_lib.training.state import TrainState, Weights, load_optimizer
from sde_lib.base import GaussianProcess, register_sde

if TYPE_CHECKING:
    from run_lib.config.subject import Subject


def load_published(subject: Subject) -> None:
    """Load the published weights of ``init_from`` into the network; the optimiser starts afresh.

    Raises:
        ValueError: they are of another network, or (a diffusers folder) were trained with another process.
    """
    source = subject.start.init_from
    if is_folder(source):
        schedule = describe_folder(source).schedule
        if schedule is None:
            print(f"{source} has no scheduler's config: its process is taken to be the configuration's")
        else:
            check_schedule(schedule, subject)
    print(load_weights(subject.network, source, ema=subject.start.init_from_ema))


def resume(state: TrainState, path: str) -> None:
    """Continue the training run of ``resume_from``: its raw and averaged weights, its optimiser and its step.

    The optimiser's settings stay the configuration's; its moments are the file's.

    Raises:
        ValueError: the file has no training run of this network.
    """
    found = resume_weights(state.weights, path)
    moments = {
        place: {**held, "step": torch.as_tensor(float(held["step"]))}
        for place, held in found.optimizer.items()
    }
    groups = state.optimizer.state_dict()["param_groups"]
    load_optimizer(state.optimizer, {"state": moments, "param_groups": groups})
    print(f"continues at step {found.step}, with averaged weights and optimizer")


def resume_weights(weights: Weights, path: str) -> TrainingCheckpoint:
    """Load the raw weights, the averaged weights and the step of another training run; returns its whole content.

    Raises:
        ValueError: the file has no training run of this network.
    """
    found = load_training(weights.network, path)
    weights.step = found.step
    # The file has one average: those of other rates set out from it.
    for average in (weights.ema, *weights.averages.values()):
        average.num_updates = found.num_updates
        for name, value in average.shadow.items():
            value.copy_(found.averaged[name])
    print(found.report)
    return found


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
