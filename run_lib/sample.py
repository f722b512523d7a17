"""``--mode sample``: draws samples and writes them, a picture and a trajectory."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.prediction.noise_model import Model
from run_lib.data.classes import numbered
from run_lib.data.layouts import ChannelsFirst, as_written
from run_lib.data.streamed import open_array
from run_lib.files import atomic, write_json
from run_lib.fingerprint import basis_of_samples
from run_lib.output.progress import within_unit
from run_lib.pictures import picture, row_of_images, save_gif, save_png
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample_folder import CLASSES, IMAGES, SampleFolder, deciding
from run_lib.seeds import Use, stream_seed
from run_lib.sharing.parts import Part, Parts
from run_lib.tuning.stored_grids import with_stored_grid
from samplers.base import Advance, Memory, Predictor, Stepping
from samplers.pc import PCSampler
from samplers.starting import starts_below
from sde_lib.finite import NotFiniteError, finite_rows
from sde_lib.noise import Noise
from sde_lib.words import listed

if TYPE_CHECKING:
    from run_lib.config.sampling import SamplingPlan


SHOWN = 20
"""Lost samples that a message names."""
ROW = 10
"""Samples of a class in its picture."""
NOT_FINITE = (
    "a value became NaN or infinite; the network's output is not finite, or the sampler diverges: look at the "
    "weights, take more sampling.num_steps or another sampler."
)


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes:
        levels: the samples as levels of the data, (B, ...); of latents those of the decoded images.
        labels: their class labels (B,); None without classes.
        nfe: network evaluations for each sample.
    """

    levels: Tensor
    labels: Tensor | None
    nfe: int


class LostSamplesError(NotFiniteError):
    """Samples are not finite, so there are no such samples.

    Args:
        indices: their global indices.
        why: what is known of it.
    """

    def __init__(self, indices: Sequence[int], why: str = NOT_FINITE) -> None:
        what = "samples are" if len(indices) > 1 else "sample is"
        super().__init__(f"{len(indices)} {what} lost, of index {listed(indices, SHOWN)}: {why}")
        self.indices, self.why = tuple(indices), why


def draw(plan: SamplingPlan, indices: Sequence[int], use: Use = Use.SAMPLING) -> Batch:
    """The samples with the given global indices. Each is a function of (seed, index), whatever the batch.

    Raises:
        LostSamplesError: some of them are not finite.
    """
    noise = Noise(stream_seed(plan.seed, use), torch.as_tensor(list(indices)), plan.device)
    cond = plan.task.sampling_conditions(indices, plan.device)
    try:
        with plan.arithmetic.used():
            result = plan.sampler.sample((len(indices), *plan.data.shape), noise, **cond)
    except NotFiniteError as error:
        raise LostSamplesError([indices[row] for row in error.rows], str(error)) from error
    if lost := (~finite_rows(result.x)).nonzero()[:, 0].tolist():
        raise LostSamplesError([indices[row] for row in lost])
    return Batch(plan.data.to_levels(result.x).cpu(), cond.get("y"), result.nfe)


def followed(plan: SamplingPlan) -> SamplingPlan:
    """The plan of a batch whose progress is told step by step, where the sampler has steps that are known before."""
    sampler = plan.sampler
    if not isinstance(sampler, PCSampler):
        return plan
    return replace(plan, sampler=replace(sampler, stepping=_Told(sampler.stepping, len(sampler.times))))


@dataclass
class _Told:
    """Takes a predictor's steps, and tells the progress which share of them is done."""

    stepping: Stepping
    steps: int
    taken: int = 0

    def __call__(
        self,
        predictor: Predictor,
        model: Model,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        noise: Noise,
        memory: Memory,
        /,
    ) -> Advance:
        advance = self.stepping(predictor, model, x, t, s, noise, memory)
        self.taken += 1
        within_unit(self.taken / self.steps)
        return advance


def batches(total: int, size: int) -> Iterable[range]:
    """Consecutive ranges of at most ``size`` indices that cover 0 to ``total`` - 1."""
    return _Batches(total, size)


@dataclass(frozen=True)
class _Batches(Iterable[range]):
    total: int
    size: int

    def __len__(self) -> int:
        return -(-self.total // self.size)

    def __iter__(self) -> Iterator[range]:
        return (range(first, min(first + self.size, self.total)) for first in range(0, self.total, self.size))


def sample(plan: SamplingPlan, run: Run) -> None:
    """Write ``samples/samples.npz``, a picture of the first samples and, on request, PNGs of all and their trajectory.

    Several processes share the batches. Samples of other settings that are there are moved to ``samples/earlier`` when
    all of the new ones are drawn.

    Raises:
        ValueError: the folder holds files of somebody else's.
        LostSamplesError: some samples are not finite; then nothing is written. Where a whole batch is not, those
            after it are not drawn.
    """
    processes = Processes.from_environment()
    with processes.process_group():
        _sample(plan, run, processes)


def _sample(plan: SamplingPlan, run: Run, processes: Processes) -> None:
    settings = plan.settings
    weights = run.weights(plan.subject)
    plan = with_stored_grid(numbered(plan, weights.numbering), run.stored_grids(), weights)
    folder = run.samples
    started, nfe = time.perf_counter(), 0
    shown: list[Tensor] = []
    moved: Path | None = None

    def generate() -> Iterator[np.ndarray]:
        nonlocal nfe, moved
        lost = dict[int, str]()
        for part in parts.each(
            "sampling",
            list(batches(settings.num_samples, settings.batch_size)),
            partial(_drawn, plan),
            last=lambda part: bool(part["hopeless"]),
            names=None if processes.is_main else ("lost", "why", "hopeless"),
        ):
            lost |= dict.fromkeys(part["lost"].tolist(), str(part["why"]))
            if processes.is_main and not part["lost"].size:
                nfe = int(part["nfe"])
                shown.extend(torch.from_numpy(part["levels"][: max(0, settings.grid_size - len(shown))]))
                yield as_written(part["levels"])
        if lost:  # within the writing of the file, which then is none
            parts.remove()
            raise LostSamplesError(list(lost), next(iter(lost.values())))
        if processes.is_main:
            moved = place.open(depends_on)

    with weights.averaged():
        place, basis = SampleFolder(folder), basis_of_samples(plan)
        place.check()
        depends_on = {
            "seed": plan.seed, "step": weights.step, **basis.parts, **deciding(plan.subject.record.values)
        }  # fmt: skip
        how = {**depends_on, "num_samples": settings.num_samples, "batch_size": settings.batch_size}
        parts = Parts.unfinished(folder, basis.key(how, plan.arithmetic.on(plan.device)), processes)
        with parts.until_written():
            if not processes.is_main:
                for _ in generate():
                    pass
                return
            labels = plan.task.sampling_labels(settings.num_samples)
            write_samples(folder / "samples.npz", generate(), settings.num_samples, labels)
            if settings.png:
                rows = ChannelsFirst(open_array(folder / "samples.npz", "arr_0"))
                place.write_images(rows, labels if settings.png_by_class else None)
            seconds = time.perf_counter() - started
            save_png(picture(torch.stack(shown), plan.data.shown), folder / "samples.png")
            if labels is not None and len(plan.data.shown.shape) == 3:
                for number in labels[: len(shown)].unique().tolist():
                    of_class = torch.stack([x for x, y in zip(shown, labels.tolist()) if y == number])
                    save_png(
                        row_of_images(of_class[:ROW], plan.data.shown),
                        folder / CLASSES / f"class_{number:04d}.png",
                    )
            if plan.trajectory:
                _write_trajectory(plan, folder)
            write_json(
                folder / "samples.json",
                {
                    "count": settings.num_samples,
                    "nfe": nfe,
                    "seconds": seconds,
                    "arithmetic": plan.arithmetic.on(plan.device),
                    "seed": plan.seed,
                    "step": weights.step,
                    **({"sampler": plan.picked} if plan.picked else {}),
                    "config_hash": plan.subject.record.hash,
                    **({"classes": list(names)} if (names := plan.data.numbering.names) else {}),
                },
            )
    print(
        f"{settings.num_samples} samples, {nfe} network evaluations each, in {seconds:.1f} s, "
        f"{plan.arithmetic.on(plan.device)}\n"
        + (f"  sampler    {plan.picked}\n" if plan.picked else "")
        + (
            f"  start      {below}\n"
            if (below := starts_below(plan.sampler.start, plan.model.process))
            else ""
        )
        + f"  samples    {folder / 'samples.npz'}\n  picture    {folder / 'samples.png'}"
    )
    if settings.png:
        print(f"  images     {folder / IMAGES}/")
    if moved is not None:
        print(f"  earlier    {moved}, of other settings")


def _drawn(plan: SamplingPlan, indices: range) -> Part:
    """A batch, or the indices of those of its samples that are lost, why, and whether no sample is left."""
    try:
        batch = draw(followed(plan), indices)
    except LostSamplesError as error:
        hopeless = len(error.indices) == len(indices)
        return {"lost": np.array(error.indices), "why": np.array(error.why), "hopeless": np.array(hopeless)}
    return {
        "levels": batch.levels.numpy(),
        "nfe": np.array(batch.nfe),
        "lost": np.zeros(0, dtype=np.int64),
        "why": np.array(""),
        "hopeless": np.array(False),
    }


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
def _write_trajectory(plan: SamplingPlan, folder: Path) -> None:
    """Write evenly spaced states of the first samples' trajectories, as PNG frames and as a GIF."""
    count, sampler = min(plan.settings.grid_size, plan.settings.num_samples), plan.sampler
    assert isinstance(sampler, PCSampler), "build allows no trajectory of another sampler"
    noise = Noise(stream_seed(plan.seed, Use.SAMPLING), range(count), plan.device)
    chosen = set(np.linspace(0, len(sampler) - 1, plan.trajectory).round().astype(int))
    steps = sampler.iterate(
        sampler.prior((count, *plan.data.shape), noise),
        noise,
        **plan.task.sampling_conditions(range(count), plan.device),
    )
    with plan.arithmetic.used():
        frames = [
            picture(plan.data.to_levels(s.x).cpu(), plan.data.shown)
            for i, s in enumerate(steps)
            if i in chosen
        ]
    for number, frame in enumerate(frames):
        save_png(frame, folder / "trajectory" / f"frame_{number:04d}.png")
    save_gif(frames, folder / "trajectory.gif")
    print(f"  trajectory {folder / 'trajectory.gif'}")
