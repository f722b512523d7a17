"""Interpolation between pairs of images, along a great circle of latents (``control.task=interpolate``)."""

from __future__ import annotations

import sys
import time
from collections.abc import Container, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from run_lib.config.editing import ControlPlan, Interpolation
from run_lib.data.classes import numbered
from run_lib.data.inputs import Inputs, Skipped, image_labels, load
from run_lib.editing.lost_results import LostResult, where_finite
from run_lib.editing.result_files import Cost, ResultFiles
from run_lib.run import Run
from run_lib.sample import batches
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
        raise ValueError(f"task 'interpolate' goes from one image to the next: {SECTION}.input has no two.")
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
    if len(inputs) % 2:
        print(f"note: {inputs.names[-1]} is left out: the number of images is odd", file=sys.stderr)
    names = [inputs.names[row] for row in loaded.rows]
    files = ResultFiles(
        folder,
        f"{SECTION}.output",
        sampling.data,
        [names[a] for a, _ in pairs],
        digits=len(str(count - 1)),
        most_rows=max(1, sampling.settings.grid_size // count),
    )
    facts = {**plan.facts, "step": weights.step}
    files.begin(facts, count)
    shares = shares.to(sampling.device)
    with weights.averaged():
        size = max(1, sampling.settings.batch_size // count)
        for some in tqdm(list(batches(len(pairs), size)), desc="interpolate", unit="batch"):
            first, second = ([pairs[k][end] for k in some] for end in (0, 1))
            a, b = (loaded.images[rows].to(sampling.device) for rows in (first, second))
            started = time.perf_counter()
            cond = sampling.task.conditions(a, labels[first])
            kept, found = where_finite(partial(_frames, work, a, b, shares, cond), len(first))
            frames = {} if found is None else dict(zip(kept, found.x.cpu(), strict=True))
            cost = Cost(found.nfe if found else 0, 0, (time.perf_counter() - started) / (len(first) * count))
            for place, one in enumerate(first):
                ends, row = (a[place].cpu(), b[place].cpu()), frames.get(place)
                if row is None or not bool(row.isfinite().all()):  # it is shown whole or not at all
                    lost.append(LostResult(names[one]))
                    continue
                files.row(names[one], [ends[0]], [ends[1]], None)
                for k in range(count):
                    files.add(names[one], row[k], ends[2 * k >= count], None, cost, k)
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
