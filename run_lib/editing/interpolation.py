"""Interpolation between pairs of images, along a great circle of latents (``control.task=interpolate``)."""

from __future__ import annotations

import sys
import time
from collections.abc import Container, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from run_lib.config.editing import ControlPlan, Interpolation
from run_lib.data.classes import numbered
from run_lib.data.inputs import Inputs, Skipped, image_labels, load
from run_lib.editing.lost_results import LostResult, where_finite
from run_lib.editing.result_files import Cost, ResultFiles
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample import batches
from run_lib.sharing.parts import Part, Parts
from samplers.editing import interpolate
from samplers.pc import SampleResult

SECTION = "config.control"


def interpolations(
    plan: ControlPlan,
    work: Interpolation,
    run: Run,
    inputs: Inputs,
    folder: Path,
    lost: list[LostResult],
) -> Sequence[Skipped]:
    """Write the frames between the first image and the second, the third and the fourth, and so on.

    A pair of which one image cannot be read is left out, and listed; the others stay pairs.

    Each image is encoded by ``control.method``: ``ddim``, which is the default, on the sampler's grid; or ``ode``.
    The first and the last frame are the two images encoded and decoded again. Each frame is compared with the nearer
    of the two images. Pairs of which a frame is not finite are added to ``lost``.
    """
    settings, sampling, count = plan.settings, plan.sampling, work.frames
    shares = torch.linspace(0, 1, count, dtype=torch.float64)
    loaded = load(inputs, range(len(inputs)))
    places = {row: place for place, row in enumerate(loaded.rows)}
    rows = list(zip(range(0, len(inputs) - 1, 2), range(1, len(inputs), 2)))
    pairs = [(places[a], places[b]) for a, b in rows if a in places and b in places]
    skipped = [*loaded.skipped, *_without_second(inputs, rows, places)]
    if not rows:
        raise ValueError(
            f"task 'interpolate' goes from one image to the next: {SECTION}.input has "
            f"{len(inputs)}: give a folder, an .npz or a split of two images or more."
        )
    if not pairs:
        return skipped
    weights = run.weights(sampling.subject)
    plan, work, inputs = numbered((plan, work, inputs), weights.numbering)
    sampling = plan.sampling
    labels = image_labels(sampling.num_classes, inputs, loaded.rows, SECTION, settings.label)
    if sampling.num_classes and any(labels[a] != labels[b] for a, b in pairs):
        raise ValueError(
            f"a model of classes interpolates within one: set {SECTION}.label, the class of all."
        )
    if len(inputs) % 2 and Processes.from_environment().is_main:
        print(f"note: {inputs.names[-1]} is left out: the number of images is odd", file=sys.stderr)
    names = [inputs.names[row] for row in loaded.rows]
    facts = {**plan.facts, "step": weights.step}
    processes = Processes.from_environment()
    with processes.main_first():
        files = ResultFiles(
            folder,
            f"{SECTION}.output",
            sampling.data.shown,
            [names[a] for a, _ in pairs],
            digits=len(str(count - 1)),
            most_rows=max(1, sampling.settings.grid_size // count),
        )
        if processes.is_main:
            files.begin(facts, count)
    shares = shares.to(sampling.device)
    parts = Parts.unfinished(folder, "results", processes)

    def compute(some: range) -> Part:
        first, second = ([pairs[k][end] for k in some] for end in (0, 1))
        a, b = (loaded.images[rows].to(sampling.device) for rows in (first, second))
        started = time.perf_counter()
        cond = sampling.task.conditions(a, labels[first])
        ends = (sampling.data.seen(a), sampling.data.seen(b))
        kept, found = where_finite(partial(_frames, work, *ends, shares, cond), len(first))
        if found is None:
            return {"pairs": np.zeros(0, dtype=np.int64), "lost": np.array(some)}
        x = (
            sampling.data.decoded(found.x.flatten(0, 1)).unflatten(0, found.x.shape[:2]).cpu()
        )  # of each pair all frames; they are shown whole or not at all
        whole = x.flatten(1).isfinite().all(1)
        good = [some[place] for place, finite in zip(kept, whole.tolist(), strict=True) if finite]
        return {
            "pairs": np.array(good, dtype=np.int64),
            "frames": x[whole].numpy(),
            "nfe": np.array(found.nfe),
            "each": np.array((time.perf_counter() - started) / (len(first) * count)),
            "lost": np.array([k for k in some if k not in good], dtype=np.int64),
        }

    size = max(1, sampling.settings.batch_size // count)
    todo = list(batches(len(pairs), size))
    with weights.averaged(), parts.until_written(anew=True):
        for part in parts.each("interpolate", todo, compute, names=None if processes.is_main else ("lost",)):
            lost += [LostResult(names[pairs[k][0]]) for k in part["lost"].tolist()]
            if not processes.is_main or not part["pairs"].size:
                continue
            cost = Cost(int(part["nfe"]), 0, float(part["each"]))
            for k, frames in zip(part["pairs"].tolist(), torch.from_numpy(part["frames"]), strict=True):
                name, ends = names[pairs[k][0]], tuple(loaded.images[end] for end in pairs[k])
                files.row(name, [ends[0]], [ends[1]], None)
                for number in range(count):
                    files.add(name, frames[number], ends[2 * number >= count], None, cost, number)
        if processes.is_main:
            files.finish(facts, skipped)
    return skipped


def _frames(
    work: Interpolation, a: Tensor, b: Tensor, shares: Tensor, cond: dict[str, Tensor], pairs: list[int]
) -> SampleResult:
    given = {name: value[pairs] for name, value in cond.items()}
    return interpolate(work.inversion, a[pairs], b[pairs], shares, **given)


def _without_second(
    inputs: Inputs, rows: Sequence[tuple[int, int]], readable: Container[int]
) -> Iterator[Skipped]:
    """The readable images whose pair is not complete."""
    for pair in rows:
        for row, other in (pair, pair[::-1]):
            if row in readable and other not in readable:
                yield Skipped(inputs.names[row], f"the other image of its pair is {inputs.names[other]}")
