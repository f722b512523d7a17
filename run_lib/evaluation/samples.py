"""Samples of a checkpoint against data: drawn once or several times, shown, and measured by what is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from run_lib.evaluation.pixels import frechet_name, measure_in_pixels
from run_lib.evaluation.report import Number
from run_lib.evaluation.sample_sets import PlannedSet, SampleSet
from run_lib.evaluation.task import CheckpointTask
from run_lib.fingerprint import fingerprint, of_split
from run_lib.metrics.repeats import over_sets
from run_lib.pictures import picture, save_png
from run_lib.scoring.features import FeatureStore, Images
from run_lib.scoring.measuring import Scored, Scoring
from run_lib.scoring.nearest import show_nearest
from run_lib.scoring.references import Reference, open_reference
from run_lib.seeds import Use, stream_seed

if TYPE_CHECKING:
    import torch

    from run_lib.data.levels import DataSpec
    from run_lib.evaluation.builtin import SampleQuality

SPLITS = ("train", "test")


def evaluate_sampling(task: CheckpointTask, quality: SampleQuality) -> None:
    """Draw samples, write a picture of the first, and measure what is asked for; what is there already is not made."""
    name = frechet_name(task.plan.data)
    if quality.scoring.pixels and not task.has(name):
        samples = _drawn(PlannedSet(task, quality.num_samples), name)
        if samples is None:
            return
        measure_in_pixels(task, samples)
    if quality.scoring.measures:
        _score(task, quality)


def _drawn(planned: PlannedSet, name: str) -> SampleSet | None:
    """A set, and a picture of the first of it; None, and a word in the report, where some of it is lost."""
    task = planned.task
    samples = planned.draw()
    if task.lose_samples(name, samples.lost):
        return None
    if task.processes.is_main and planned.number == 0:
        shown = samples.rows.read(range(min(task.plan.samples.settings.grid_size, planned.num_samples)))
        save_png(picture(shown, task.plan.data.shown), task.parts.parent.parent / f"samples_{task.step}.png")
    return samples


def built_scoring(quality: SampleQuality, data: DataSpec, device: torch.device) -> tuple[Scoring, Reference]:
    """The metrics and extractors for a data set, and what samples are held against.

    Raises:
        ValueError: missing weights or images, or metrics that do not go with them.
    """
    reference = _reference(data, quality.reference, device)
    rows = None if reference.images is None else reference.images.rows
    scoring = quality.scoring.build(data.shown.shape, data.shown.levels, rows, device)
    scoring.check(quality.num_samples, reference)
    return scoring, reference


def _score(task: CheckpointTask, quality: SampleQuality) -> None:
    plan, data = quality.scoring, task.plan.data
    scoring, reference = built_scoring(quality, data, task.plan.device)
    sets = [PlannedSet(task, quality.num_samples, number) for number in range(quality.repeats)]
    key = scoring.key([one.fingerprint for one in sets], reference)
    if task.has_measured(key):
        return
    store = FeatureStore(task.workdir / plan.extraction.folder, task.processes, plan.extraction.batch_size)
    scored: list[list[Scored]] = []
    nfe = seconds = 0.0
    for one in sets:
        samples = _drawn(one, str(plan.measures[0].asked))
        if samples is None:
            return
        images = Images(
            f"samples of step {task.step}",
            samples.rows,
            one.fingerprint,
            samples.labels,
            _facts(task, samples),
        )
        nfe, seconds = samples.nfe, seconds + samples.seconds
        scored.append(list(scoring.score(images, reference, store, task.parts)))
        if task.processes.is_main and one.number == 0:
            place = task.report.path.parent / f"nearest_{task.step}.png"
            show_nearest(scoring, images, reference, store, data.shown.levels, place)
    numbers = [number for held in zip(*scored, strict=True) for number in _numbers(task, held, key)]
    numbers = [replace(number, nfe=nfe, seconds=seconds) for number in numbers]
    floor = _floor(task, quality)
    if floor is not None:
        numbers += [
            _floor_number(task, one, floor, key) for one in scoring.score(floor, reference, store, task.parts)
        ]
    task.report.add(*numbers)


def _numbers(task: CheckpointTask, sets: tuple[Scored, ...], key: str) -> list[Number]:
    """One number of a single set; of several, their mean and, since papers report it, the least of the first three."""
    one = sets[0]
    held, protocol = one.number, {**one.protocol, "key": key}
    made = task.number(one.title, held.value, held.stderr, count=one.count, unit=held.unit, note=held.note)
    first = replace(made, protocol=protocol, low=held.low, high=held.high)
    if len(sets) == 1:
        return [first]
    over = over_sets([each.number for each in sets])
    mean = replace(
        first,
        value=over.mean,
        stderr=over.stderr,
        low=over.low,
        high=over.high,
        sets=over.values,
        note="; ".join(note for note in (f"mean of {len(sets)} sets", over.note, held.note) if note),
    )
    if over.least is None or one.goal != "least":
        return [mean]
    least = replace(
        first, name=f"{one.title}, minimum of 3", value=over.least, stderr=None, low=None, high=None,
        note="the least of three sets, as papers report it: biased downwards",
    )  # fmt: skip
    return [mean, least]


def _floor(task: CheckpointTask, quality: SampleQuality) -> Images | None:
    """As many real images of the split that is not the reference, or all of it; None: there is none."""
    data = task.plan.data
    if quality.reference not in SPLITS:
        return None
    other = next(split for split in SPLITS if split != quality.reference)
    held = data.load_if_any(other, "what real images would score")
    if held is None:
        return None
    count = min(len(held), quality.num_samples)
    drawn = np.random.default_rng(stream_seed(task.plan.seed, Use.BOOTSTRAP)).permutation(len(held))[:count]
    title, known = f"{other} images", f"{_key(data, other)}, {count} of seed {task.plan.seed}"
    picked = data.as_shown(held.picked(np.sort(drawn)), task.plan.device)
    return Images(title, picked.rows, known)  # of all classes together


def _floor_number(task: CheckpointTask, one: Scored, floor: Images, key: str) -> Number:
    """What real images score: that of samples is read against it."""
    held = one.number
    said = f"reference: {one.count} real {floor.title}"
    made = task.number(
        f"{one.title}/{floor.title}", held.value, held.stderr, count=one.count, unit=held.unit,
        note=f"{said}; {held.note}" if held.note else said,
    )  # fmt: skip
    return replace(made, protocol={**one.protocol, "key": key}, low=held.low, high=held.high)


def _facts(task: CheckpointTask, samples: SampleSet) -> dict[str, str]:
    """How samples were made, for the protocol of a number."""
    plan = task.plan.samples
    sampling = plan.subject.record.values["sampling"]
    words = ("method", "predictor", "corrector", "grid", "num_steps", "respacing", "snr")
    named = ", ".join(f"{word}={sampling[word]}" for word in words if sampling.get(word) is not None)
    return {
        "checkpoint": f"step {task.step}, weights {fingerprint(plan.subject.network)}",
        "sampler": f"predictor=auto: {plan.picked}" if plan.picked else named,
        "evaluations": f"{samples.nfe:g} a sample",
        "seed of the samples": str(plan.seed),
        "levels": f"{plan.data.shown.levels} (quantised)" if plan.data.shown.levels else "continuous",
    }


def _reference(data: DataSpec, source: str, device: torch.device) -> Reference:
    """A split of the model's own data, of latents decoded as samples are; or what a path names."""
    if source in SPLITS:
        title = f"the {source} split of {data.name}{'' if data.latents is None else ', decoded'}"
        shown = data.as_shown(data.load(source), device)
        return Reference(title, Images.of_split(shown, title, _key(data, source)))
    return open_reference(Path(source), data.shown.shape, data.shown.levels)


def _key(data: DataSpec, split: str) -> str:
    """By which the images of a split are known; those of latents by their codec, too."""
    codec = "" if data.latents is None else f", decoded by {data.latents.codec.fingerprint}"
    return f"{of_split(data, split)}{codec}"
