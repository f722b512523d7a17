"""Weights in another format."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import torch

from models.checkpoints import score_sde
from models.checkpoints.diffusers import export_diffusers
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.checkpoints.ours import save_weights
from models.checkpoints.training import over_all
from run_lib.config.experiment import Experiment
from run_lib.files import atomic
from run_lib.run import Run
from run_lib.training.state import TrainState
from sde_lib.registry import unknown_name
from sde_lib.schedules import geometric_sigmas


def convert(run: Run) -> None:
    """Write the weights of ``init_from`` or ``resume_from``, else of the latest checkpoint, as
    ``convert.to`` says.

    Raises:
        ValueError: an unknown format, no weights, or a network that the format does not have.
    """
    e, wanted = run.experiment, run.experiment.convert
    if wanted.to not in FORMATS:
        raise ValueError(unknown_name("config.convert.to", wanted.to, list(FORMATS)))
    state = run.new_state() if e.init_from or e.resume_from else run.trained_state()
    suffix, write = FORMATS[wanted.to]
    path = Path(wanted.path or run.workdir / "converted" / f"{wanted.to}_{state.step:08d}{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write(e, state, path)
    print(f"{wanted.to}: {path}")


def to_ours(e: Experiment, state: TrainState, path: Path) -> None:
    """A checkpoint that training goes on from, which says how it was made."""
    state.save(path, dict(e.config))


def to_safetensors(e: Experiment, state: TrainState, path: Path) -> None:
    """The averaged weights by our names; the configuration is in the file's header."""
    with atomic(path) as partial:
        save_weights(state.network, state.ema.shadow, partial, config=json.dumps(e.config), step=state.step)  # type: ignore[arg-type]


def to_score_sde(e: Experiment, state: TrainState, path: Path) -> None:
    """score_sde_pytorch's ``checkpoint_N.pth``: weights, averages, optimizer and step."""
    model = e.config["model"]
    # The ancestor keeps this table in every network, whatever its process.
    sigmas = geometric_sigmas(model["num_scales"], model["sigma_min"], model["sigma_max"]).flip(0)
    optimizer = over_all(state.optimizer.state_dict(), state.network)  # type: ignore[arg-type]
    payload = score_sde.export(
        state.network,  # type: ignore[arg-type]
        state.ema.shadow,
        sigmas=sigmas,
        optimizer=optimizer,
        step=state.step,
        decay=state.ema.decay,
        num_updates=state.ema.num_updates,
    )
    with atomic(path) as partial, partial.open("wb") as file:
        torch.save(payload, file)
        file.flush()
        os.fsync(file.fileno())


def to_diffusers(e: Experiment, state: TrainState, path: Path) -> None:
    """A folder of a ``UNet2DModel`` with the averaged weights, and its scheduler's config where there is
    one."""
    shape = e.data.shape
    if len(shape) != 3:
        raise ValueError(f"diffusers' UNet2DModel is for images; samples here have the shape {shape}.")
    with state.ema.average(e.network):
        export_diffusers(e.network, path, sample_size=(shape[1], shape[2]), schedule=noise_schedule(e))


def noise_schedule(e: Experiment) -> NoiseSchedule:
    """The training process by the names that diffusers' schedulers know.

    Raises:
        ValueError: diffusers has no scheduler of it.
    """
    model, training = e.config["model"], e.config["training"]
    sde, continuous = training["sde"], training["continuous"]
    output = e.training_model.output
    if sde == "ddpm" or (sde == "vpsde" and not continuous):
        schedule = model["beta_schedule"] if sde == "ddpm" else "linear"
        betas = {"N": model["num_scales"], "beta_min": model["beta_min"], "beta_max": model["beta_max"]}
        if model["betas"] is None:
            return NoiseSchedule("ddpm", {**betas, "schedule": schedule}, False, output)
    if sde == "vesde" and continuous:
        sigmas = {"sigma_min": model["sigma_min"], "sigma_max": model["sigma_max"], "N": model["num_scales"]}
        return NoiseSchedule("vesde", sigmas, True, output, snr=e.config["sampling"]["snr"])
    kind = "continuous" if continuous else "discrete"
    raise ValueError(
        f"diffusers has no scheduler of {kind} {sde!r} that networks of ours are trained with; it has those "
        f"of discrete "
        f"vpsde, of ddpm with a named schedule, and of continuous vesde."
    )


FORMATS: dict[str, tuple[str, Callable[[Experiment, TrainState, Path], None]]] = {
    "ours": (".pt", to_ours),
    "safetensors": (".safetensors", to_safetensors),
    "score_sde": (".pth", to_score_sde),
    "diffusers": ("", to_diffusers),
}
"""Name -> suffix of the file (a folder has none) and what writes it."""
