"""Converts weights to other formats: ours, safetensors, score_sde's, diffusers'."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.checkpoints import score_sde
from models.checkpoints.diffusers import export_diffusers
from models.checkpoints.ours import save_weights
from models.checkpoints.training import over_all
from run_lib.config.converting import ConversionPlan
from run_lib.config.explaining import in_fields
from run_lib.files import atomic, atomic_folder, write_tensors
from run_lib.run import Run
from run_lib.training.state import TrainState


def convert(plan: ConversionPlan, run: Run) -> None:
    """Write weights in the format ``convert.to``: those of ``init_from`` or ``resume_from``, else of the latest
    checkpoint.

    Raises:
        ValueError: no weights, a network that the format does not have, or a path where there
            is something already.
    """
    wanted = plan.settings
    state = run.new_state(plan) if plan.subject.start.given else run.trained_state(plan)
    rate = plan.subject.averages.used_ema_rate
    if rate is not None and wanted.to != "ours":  # which has every average
        state = replace(state, weights=state.weights.use(rate))
    suffix, write = FORMATS[wanted.to]
    name = f"{wanted.to}_{state.step:08d}{suffix}"
    path = Path(wanted.path) if wanted.path else run.folder("converted") / name
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(
            f"{path} exists already, and nothing is overwritten: move it away, or take another place by "
            f"--config.convert.path."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write(plan, state, path)
    print(f"{wanted.to}: {path}")


def to_ours(plan: ConversionPlan, state: TrainState, path: Path) -> None:
    """Write a checkpoint of our own, from which training can continue; it holds the configuration."""
    state.save(path, _record(plan, state))


def _record(plan: ConversionPlan, state: TrainState) -> Mapping[str, Any]:
    """The configuration that the weights were made with: the checkpoint's; without one, that of the conversion."""
    held: Mapping[str, Any] = json.loads(state.weights.record) if state.weights.record else {}
    return held or plan.subject.record.values


def to_safetensors(plan: ConversionPlan, state: TrainState, path: Path) -> None:
    """Write the averaged weights by our names, with the configuration in the file's header."""
    with atomic(path) as partial:
        save_weights(
            state.network,
            state.ema.shadow,
            partial,
            config=json.dumps(dict(_record(plan, state))),
            step=state.step,
            classes=state.weights.classes,
        )


def to_score_sde(plan: ConversionPlan, state: TrainState, path: Path) -> None:
    """Write score_sde_pytorch's ``checkpoint_N.pth``: weights, averages, optimizer and step."""
    optimizer = over_all(state.optimizer.state_dict(), state.network)
    payload = score_sde.export(
        state.network,
        state.ema.shadow,
        sigmas=plan.sigmas,
        optimizer=optimizer,
        step=state.step,
        decay=state.ema.decay,
        num_updates=state.ema.num_updates,
    )
    write_tensors(path, payload)


def to_diffusers(plan: ConversionPlan, state: TrainState, path: Path) -> None:
    """Write a diffusers folder: a ``UNet2DModel`` with the averaged weights, and the scheduler's config.

    Raises:
        ValueError: the samples are no images, or diffusers has no scheduler of the process.
    """
    shape = plan.subject.data.shape
    if len(shape) != 3:
        raise ValueError(f"diffusers' UNet2DModel is for images; samples here have the shape {shape}.")
    if plan.schedule is None:
        raise ValueError(
            f"diffusers has no scheduler of {plan.process} that networks of ours are trained with; it has those "
            f"of discrete vpsde, of ddpm with a named schedule, and of continuous vesde."
        )
    another = "Take another format, --config.convert.to."
    with in_fields(architecture=another), state.weights.averaged(), atomic_folder(path) as partial:
        export_diffusers(state.network, partial, sample_size=(shape[1], shape[2]), schedule=plan.schedule)


FORMATS: dict[str, tuple[str, Callable[[ConversionPlan, TrainState, Path], None]]] = {
    "ours": (".pt", to_ours),
    "safetensors": (".safetensors", to_safetensors),
    "score_sde": (".pth", to_score_sde),
    "diffusers": ("", to_diffusers),
}
"""Name of a format -> suffix of its file (a folder has none) and the function that writes it."""
