"""``--mode stats``: classes, levels, moments and the largest distance of data, and noise levels that go with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from run_lib.config.preparing import PreparationPlan
from run_lib.data.facts import FILE, place_of, scale, scaled_deviation, write_facts
from run_lib.data.levels import DataSpec
from run_lib.data.split import MissingSplitError, Split
from run_lib.preparation.statistics import statistics
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample import batches
from run_lib.sharing.parts import Part, Parts
from sde_lib.words import digits

EXACT = 5000
"""Samples up to which every pair is compared."""
SAMPLE = 2000
"""Samples of a larger set that are compared: half of them those that are farthest from the mean."""


@dataclass
class Moments:
    """Sums over the samples of a split, in levels.

    Attributes:
        count: samples.
        first, second: sums of the values and of their squares, by channel (C,).
        values: of a channel, that all samples have.
        lowest, highest: of all values.
        levels: which there are, where they are counted.
    """

    count: int = 0
    values: int = 0
    first: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))
    second: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))
    lowest: float = float("inf")
    highest: float = float("-inf")
    levels: set[int] = field(default_factory=set)

    def add(self, images: Tensor) -> None:
        """Some more samples (B, C, ...)."""
        by_channel = images.double().reshape(len(images), images.shape[1], -1).transpose(0, 1).flatten(1)
        self.first = self.first + by_channel.sum(1)
        self.second = self.second + by_channel.square().sum(1)
        self.values += by_channel.shape[1]
        self.count += len(images)
        self.lowest, self.highest = (
            min(self.lowest, float(images.min())), max(self.highest, float(images.max()))
        )  # fmt: skip
        if not images.is_floating_point():
            self.levels |= set(images.unique().tolist())

    def as_part(self) -> Part:
        """The same as plain arrays, as processes tell it each other."""
        return {
            "count": np.array(self.count),
            "values": np.array(self.values),
            "first": self.first.numpy(),
            "second": self.second.numpy(),
            "range": np.array([self.lowest, self.highest]),
            "levels": np.array(sorted(self.levels), dtype=np.int64),
        }

    def add_part(self, part: Part) -> None:
        """Some more samples, of which a process has told."""
        self.count += int(part["count"])
        self.values += int(part["values"])
        self.first = self.first + torch.from_numpy(part["first"])
        self.second = self.second + torch.from_numpy(part["second"])
        lowest, highest = part["range"].tolist()
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        self.levels |= set(part["levels"].tolist())

    @property
    def mean(self) -> Tensor:
        """By channel."""
        return self.first / self.values

    @property
    def std(self) -> Tensor:
        """By channel."""
        return (self.second / self.values - self.mean.square()).clamp(min=0).sqrt()

    @property
    def whole_std(self) -> float:
        """Of all values alike."""
        mean = float(self.mean.mean())
        return max(0.0, float((self.second / self.values).mean()) - mean**2) ** 0.5


@dataclass(frozen=True)
class Distance:
    """The largest Euclidean distance between two samples.

    Attributes:
        least, most: bounds; equal where every pair was compared.
    """

    least: float
    most: float


def stats(plan: PreparationPlan, run: Run) -> None:
    """Measure the training split, print it and write it to ``stats.json`` beside the data.

    Several processes share the samples, and then the pairs of those that are compared.

    Raises:
        ValueError: missing data, or samples that cannot be read.
    """
    processes = Processes.from_environment()
    parts = Parts.unfinished(parts_folder(run), "measured", processes)
    with processes.process_group(), parts.until_written(anew=True):
        train = plan.data.stored("train")
        moments, distance = measure(train, parts)
        if processes.is_main:
            _write(plan, run, train, moments, distance)
        statistics(plan, run, processes)


def parts_folder(run: Run) -> Path:
    """Where processes tell each other what they have measured; it is gone afterwards."""
    return run.folder("stats")


def _write(plan: PreparationPlan, run: Run, train: Split, moments: Moments, distance: Distance) -> None:
    facts: dict[str, Any] = {
        "count": moments.count,
        "classes": _counts(train),
        "lowest": moments.lowest,
        "highest": moments.highest,
        "levels_in_use": len(moments.levels) or None,
        "mean": moments.mean.tolist(),
        "std": moments.std.tolist(),
        "sigma_data": moments.whole_std,
        "largest_distance": [distance.least, distance.most],
        "sigma_max": distance.least,
    }
    try:
        facts["test_count"] = len(plan.data.stored("test"))
    except MissingSplitError as error:
        print(f"there is no test split: {error}")
    path = place_of(plan.root)
    if not _writable(path):
        path = run.workdir / FILE
        print(f"{plan.root} cannot be written to; for auto, copy the file there")
    write_facts(path, plan.key, facts)
    _show(facts)
    _show_seen(plan.data, facts, distance)
    print(f"stats: {path}")


def measure(split: Split, parts: Parts | None = None) -> tuple[Moments, Distance]:
    """Moments, and the largest distance: exact for small sets. Else every sample is seen once: the distance is at least
    that of pairs of a sample, and at most twice the largest distance from one point.

    Args:
        split: the samples.
        parts: by which processes share them; None: there is one.
    """
    parts = parts or Parts()
    exact, most = len(split) <= EXACT, SAMPLE // 2
    sample = None if exact else _drawn(split, most)
    center = None if sample is None else sample.double().mean(0)
    farthest = torch.zeros(0, dtype=torch.float64)
    """Of the samples that this process has seen, the largest radii: a sample of a lesser one is not told of."""

    def scanned(rows: range) -> Part:
        nonlocal farthest
        images, moments = split.rows.read(rows), Moments()
        moments.add(images if images.ndim > 2 else images[..., None])
        flat = images.flatten(1)
        if center is None:
            return {**moments.as_part(), "far": flat.numpy(), "radii": np.zeros(len(flat))}
        radii = (flat.double() - center).norm(dim=1)
        farthest = torch.cat([farthest, radii]).topk(min(most, len(farthest) + len(radii))).values
        far = radii >= farthest[-1]
        return {**moments.as_part(), "far": flat[far].numpy(), "radii": radii[far].numpy()}

    moments, kept = Moments(), [] if sample is None else [sample]
    far, radii = None, torch.zeros(0, dtype=torch.float64)
    for part in parts.each("measuring", split.rows.pieces(), scanned, sized=False):
        moments.add_part(part)
        rows = torch.from_numpy(part["far"])
        if exact:
            kept.append(rows)
            continue
        radii = torch.cat([radii, torch.from_numpy(part["radii"])])
        radii, order = radii.topk(min(most, len(radii)))
        far = (rows if far is None else torch.cat([far, rows]))[order]
    least = largest_distance(torch.cat(kept if far is None else [*kept, far]), parts)
    return moments, Distance(least, least if exact else 2 * float(radii.max()))


def _drawn(split: Split, count: int) -> Tensor:
    """Some samples of a split, as rows (N, D)."""
    some = np.sort(np.random.default_rng(0).choice(len(split), count, replace=False))
    return split.read(some).images.flatten(1)


def largest_distance(rows: Tensor, parts: Parts | None = None) -> float:
    """Between any two of some rows (N, D), which all processes have."""

    def compared(some: range) -> Part:
        ours, most = rows[some.start : some.stop].double(), 0.0
        for second in range(some.start, len(rows), len(some)):
            most = max(most, float(torch.cdist(ours, rows[second : second + len(some)].double()).max()))
        return {"most": np.array(most)}

    todo = list(batches(len(rows), 500))
    shared = (parts or Parts()).each("comparing", todo, compared, sized=False)
    return max(float(part["most"]) for part in shared)


def _counts(split: Split) -> dict[str, int]:
    labels = split.labels[split.labels >= 0]
    counts = labels.bincount(minlength=len(split.classes)).tolist()
    return {split.classes[k] if split.classes else str(k): count for k, count in enumerate(counts)}


def _writable(path: Path) -> bool:
    return os.access(path if path.exists() else path.parent, os.W_OK)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(digits(value, 4) for value in values)


def _show(facts: dict[str, Any]) -> None:
    levels = f", {facts['levels_in_use']} levels in use" if facts["levels_in_use"] else ""
    print(f"values        {facts['lowest']:g} to {facts['highest']:g}{levels}")
    if facts["classes"]:
        print(
            f"classes       {', '.join(f'{name} {count}' for name, count in list(facts['classes'].items())[:20])}"
        )
    print(f"mean          {_numbers(facts['mean'])} by channel")
    print(f"std           {_numbers(facts['std'])} by channel")


def _show_seen(data: DataSpec, facts: dict[str, Any], distance: Distance) -> None:
    """The same in the range that the network sees."""
    latents = data.latents
    print("in the range that the network sees:")
    if latents is not None:
        print(f"              latents less {_numbers(latents.mean)}, divided by {_numbers(latents.std)}")
        deviation = scaled_deviation(latents, facts["mean"], facts["std"])
        print(f"sigma_data    {digits(deviation, 4)}, the standard deviation of all values")
        if len(latents.std) > 1:
            return  # no distance follows from one of the latents as they are
        one = 1 / latents.std[0]
    else:
        one = scale(data.levels, data.centered, data.dequantize)
        print(f"sigma_data    {digits(facts['sigma_data'] * one, 4)}, the standard deviation of all values")
    bounds = (
        "exactly"
        if distance.least == distance.most
        else f"at least, and at most {digits(distance.most * one, 4)}"
    )
    print(
        f"sigma_max     {digits(facts['sigma_max'] * one, 4)} for VE, the largest distance of two samples ({bounds})"
    )
