"""Where a run starts: fresh weights, published ones, or a training run to go on with."""

from __future__ import annotations

import torch

from models.checkpoints import load_training, load_weights
from models.checkpoints.diffusers import describe_folder
from models.checkpoints.diffusers_folder import is_folder
from models.checkpoints.diffusers_schedule import NoiseSchedule
from run_lib.config.experiment import Experiment
from run_lib.training.state import TrainState
from sde_lib.base import GaussianProcess, register_sde


def load_published(e: Experiment) -> None:
    """``init_from``: weights, and nothing else, into the network.

    Raises:
        ValueError: they are of another network, or (a diffusers folder) were trained with another process.
    """
    if is_folder(e.init_from):
        schedule = describe_folder(e.init_from).schedule
        if schedule is None:
            print(f"{e.init_from} has no scheduler's config: its process is taken to be the configuration's")
        else:
            check_schedule(schedule, e)
    print(load_weights(e.network, e.init_from, ema=e.init_from_ema))


def resume(state: TrainState, path: str) -> None:
    """``resume_from``: raw and averaged weights, optimiser and step of another training run.

    The optimiser's settings stay the configuration's; its moments are the file's.

    Raises:
        ValueError: the file has no training run of this network.
    """
    found = load_training(state.network, path)  # type: ignore[arg-type]
    state.step, state.ema.num_updates = found.step, found.num_updates
    for name, average in state.ema.shadow.items():
        average.copy_(found.averaged[name])
    moments = {
        place: {**held, "step": torch.as_tensor(float(held["step"]))}
        for place, held in found.optimizer.items()
    }
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    print(f"{found.report}\ncontinues at step {found.step}, with averaged weights and optimizer")


def check_schedule(schedule: NoiseSchedule, e: Experiment) -> None:
    """Refuse weights of another process than the configuration's: its labels and noise levels would be wrong.

    Raises:
        ValueError: with the settings that the weights need.
    """
    process, output = e.training_model.process, e.training_model.output
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
        f"{e.init_from} was trained with another process, or to give another output, than the "
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
