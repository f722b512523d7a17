"""Files of weights in each format that the program writes: ours, safetensors, score_sde's, diffusers'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from models.checkpoints import dit, score_sde
from models.checkpoints.diffusers import export_diffusers
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.checkpoints.ours import save_weights
from models.checkpoints.training import over_all
from run_lib.files import as_json, atomic, atomic_folder, write_tensors
from run_lib.training.state import TrainState


@dataclass(frozen=True)
class Converted:
    """What a file of weights holds, in one format or another.

    Attributes:
        state: weights, averages, optimiser and step.
        record: the configuration that the weights were made with.
        shape: of a sample.
        sigmas: noise levels, descending, which score_sde keeps in every network whatever its process.
        schedule: the process by the names of diffusers' schedulers; None: diffusers has none of it.
        process: the process in words, for messages.
    """

    state: TrainState
    record: Mapping[str, Any]
    shape: tuple[int, ...]
    sigmas: Tensor
    schedule: NoiseSchedule | None
    process: str


@dataclass(frozen=True)
class Format:
    """How weights are written.

    Attributes:
        suffix: of the file; empty: a folder.
        write: to a path where nothing is.
        averages: whether all averages are kept, or one alone.
    """

    suffix: str
    write: Callable[[Converted, Path], None]
    averages: bool = False


def to_ours(held: Converted, path: Path) -> None:
    """Write a checkpoint of our own, from which training can continue; it holds the configuration."""
    held.state.save(path, held.record)


def to_safetensors(held: Converted, path: Path) -> None:
    """Write the averaged weights by our names, with the configuration in the file's header."""
    state = held.state
    with atomic(path) as partial:
        save_weights(
            state.network,
            state.ema.shadow,
            partial,
            config=as_json(dict(held.record)),
            step=state.step,
            classes=state.weights.classes,
        )


def to_score_sde(held: Converted, path: Path) -> None:
    """Write score_sde_pytorch's ``checkpoint_N.pth``: weights, averages, optimizer and step."""
    state = held.state
    optimizer = over_all(state.optimizer.state_dict(), state.network)
    payload = score_sde.export(
        state.network,
        state.ema.shadow,
        sigmas=held.sigmas,
        optimizer=optimizer,
        step=state.step,
        decay=state.ema.decay,
        num_updates=state.ema.num_updates,
    )
    write_tensors(path, payload)


def to_dit(held: Converted, path: Path) -> None:
    """Write the averaged weights as DiT's plain state dict."""
    write_tensors(path, dit.export(held.state.network, held.state.ema.shadow))


def to_diffusers(held: Converted, path: Path) -> None:
    """Write a diffusers folder: a ``UNet2DModel`` or a DiT with the averaged weights, and the scheduler's config.

    Raises:
        ValueError: the samples are no images, or diffusers has no scheduler of the process.
    """
    shape = held.shape
    if len(shape) != 3:
        raise ValueError(f"diffusers' networks here are for images; samples here have the shape {shape}.")
    if held.schedule is None:
        raise ValueError(
            f"diffusers has no scheduler of {held.process} that networks of ours are trained with; it has those "
            f"of discrete vpsde, of ddpm with a named schedule, and of continuous vesde."
        )
    state = held.state
    with state.weights.averaged(), atomic_folder(path) as partial:
        export_diffusers(state.network, partial, sample_size=(shape[1], shape[2]), schedule=held.schedule)


FORMATS: dict[str, Format] = {
    "ours": Format(".pt", to_ours, averages=True),
    "safetensors": Format(".safetensors", to_safetensors),
    "score_sde": Format(".pth", to_score_sde),
    "diffusers": Format("", to_diffusers),
    "dit": Format(".pt", to_dit),
}
"""By name, ``convert.to``."""
CONFIG = "config"
"""The further choice of ``convert.to``: the configuration of a file, and no weights."""
