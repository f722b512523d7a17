"""Sampling to files."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from run_lib.config.experiment import Experiment
from run_lib.files import atomic, write_json
from run_lib.pictures import picture, save_gif, save_png
from run_lib.run import Run
from run_lib.seeds import Use, stream_seed
from samplers.pc import PCSampler
from sde_lib.noise import Noise


@dataclass(frozen=True)
class Batch:
    """Samples as levels of the data (B, ...), their class labels where there are classes, and the cost of each."""

    levels: Tensor
    labels: Tensor | None
    nfe: int


def draw(e: Experiment, indices: Sequence[int], use: Use = Use.SAMPLING) -> Batch:
    """The samples of the given global indices: a function of (seed, index), whatever the batch."""
    noise = Noise(stream_seed(e.sampling_seed, use), torch.as_tensor(list(indices)), e.device)
    cond = e.task.sampling_conditions(indices, e.device)
    result = e.sampler.sample((len(indices), *e.data.shape), noise, **cond)
    return Batch(e.data.to_levels(result.x).cpu(), cond.get("y"), result.nfe)


def batches(total: int, size: int) -> Iterator[range]:
    """Consecutive ranges of indices."""
    return (range(first, min(first + size, total)) for first in range(0, total, size))


def sample(run: Run) -> None:
    """Write ``samples/samples.npz``, a picture of the first ones and, on request, of their trajectory."""
    e, settings = run.experiment, run.experiment.sampling
    if not e.task.generates:
        raise ValueError(
            "a classifier has no samples: use --mode train or eval, or a training.task that generates."
        )
    state = run.trained_state()
    folder = run.workdir / "samples"
    started, nfe = time.perf_counter(), 0
    shown: list[Tensor] = []

    def generate() -> Iterator[np.ndarray]:
        nonlocal nfe
        for indices in tqdm(
            list(batches(settings.num_samples, settings.batch_size)), desc="sampling", unit="batch"
        ):
            batch = draw(e, indices)
            nfe = batch.nfe
            shown.extend(batch.levels[: max(0, settings.grid_size - len(shown))])
            yield batch.levels.numpy()

    with state.ema.average(e.network):
        write_samples(
            folder / "samples.npz",
            generate(),
            settings.num_samples,
            e.task.sampling_labels(settings.num_samples),
        )
        seconds = time.perf_counter() - started
        save_png(picture(torch.stack(shown), e.data), folder / "samples.png")
        if settings.trajectory:
            _write_trajectory(e, folder)
    write_json(
        folder / "samples.json",
        {
            "count": settings.num_samples,
            "nfe": nfe,
            "seconds": seconds,
            "seed": e.sampling_seed,
            "step": state.step,
            "config_hash": e.config_hash,
        },
    )
    print(
        f"{settings.num_samples} samples, {nfe} network evaluations each, in {seconds:.1f} s\n"
        f"  samples    {folder / 'samples.npz'}\n  picture    {folder / 'samples.png'}"
    )


def write_samples(path: Path, arrays: Iterator[np.ndarray], count: int, labels: Tensor | None) -> None:
    """Stream ``arr_0`` (count, ...) and, with classes, ``arr_1`` (their labels) into an .npz: one batch in memory."""
    batch = next(arrays)
    with (
        atomic(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive,
    ):
        with archive.open("arr_0.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(
                member, {"descr": batch.dtype.str, "fortran_order": False, "shape": (count, *batch.shape[1:])}
            )
            member.write(np.ascontiguousarray(batch).data)
            for batch in arrays:
                member.write(np.ascontiguousarray(batch).data)
        if labels is not None:
            with archive.open("arr_1.npy", "w") as member:
                np.lib.format.write_array(member, labels.numpy())


@torch.no_grad()
def _write_trajectory(e: Experiment, folder: Path) -> None:
    """Evenly spaced states on the way of the first samples, as frames and as a GIF."""
    count, sampler = min(e.sampling.grid_size, e.sampling.num_samples), e.sampler
    assert isinstance(sampler, PCSampler), "build allows no trajectory of another sampler"
    noise = Noise(stream_seed(e.sampling_seed, Use.SAMPLING), range(count), e.device)
    chosen = set(np.linspace(0, len(sampler) - 1, e.sampling.trajectory).round().astype(int))
    steps = sampler.iterate(
        sampler.prior((count, *e.data.shape), noise),
        noise,
        **e.task.sampling_conditions(range(count), e.device),
    )
    frames = [picture(e.data.to_levels(s.x).cpu(), e.data) for i, s in enumerate(steps) if i in chosen]
    for number, frame in enumerate(frames):
        save_png(frame, folder / "trajectory" / f"frame_{number:04d}.png")
    save_gif(frames, folder / "trajectory.gif")
    print(f"  trajectory {folder / 'trajectory.gif'}")
