"""Samples against data, in pixel space, with the numbers that real data would have."""

from __future__ import annotations

from functools import partial

import numpy as np

from run_lib.data.levels import DataSpec
from run_lib.evaluation.report import Number
from run_lib.evaluation.sample_sets import SampleSet
from run_lib.evaluation.task import CheckpointTask
from run_lib.metrics.gaussians import frechet_distance
from run_lib.metrics.moments import Moments
from run_lib.metrics.neighbours import copies
from run_lib.metrics.precision_recall import precision_recall
from run_lib.metrics.recognition import Labelled, recognised
from run_lib.seeds import Use, stream_seed
from run_lib.statistics import bootstrap, share


def measure_in_pixels(task: CheckpointTask, samples: SampleSet) -> None:
    """Samples against data in pixel space: Frechet distance, precision and recall, copies; with their floors."""
    plan = task.plan
    if task.has(frechet_name(plan.data)):
        return
    without = "what compares with test data"
    held = {"train": plan.data.load("train"), "test": plan.data.load_if_any("test", without)}

    count = len(samples.rows)
    fake = samples.rows.read(range(count)).numpy().reshape(count, -1).astype(np.float64)
    real = {
        name: Labelled(
            plan.data.as_shown(split, plan.device).images.flatten(1).double().numpy(), split.labels.numpy()
        )
        for name, split in held.items()
        if split is not None
    }
    train, test = real["train"], real.get("test")
    task.report.add(
        *_sample_numbers(task, fake, train.features, None if test is None else test.features, samples)
    )
    if samples.labels is not None:
        task.report.add(*_label_numbers(task, Labelled(fake, samples.labels), train, test))


def _label_numbers(
    task: CheckpointTask, fake: Labelled, train: Labelled, test: Labelled | None
) -> list[Number]:
    """How many samples a classifier of the training pixels takes for the class that they were asked for."""
    asked = recognised(train, fake)
    lowest = min(asked.by_class, key=lambda k: asked.by_class[k].value)
    count = int((fake.labels == lowest).sum())
    worst = share(round(asked.by_class[lowest].value * count), count, among=len(asked.by_class))
    note = "support vector classifier of the training pixels"
    numbers = [
        task.number(
            "labels recognised",
            asked.overall.value,
            asked.overall.stderr,
            count=len(fake.labels),
            unit="",
            note=note,
        ),
        task.number(
            "labels recognised, least",
            worst.value,
            worst.stderr,
            count=count,
            unit="",
            note=f"of class {lowest}",
        ),
    ]
    if test is not None:
        real = recognised(train, test).overall
        count, what = len(test.labels), "reference: real test images"
        numbers.append(
            task.number("labels recognised/test", real.value, real.stderr, count=count, unit="", note=what)
        )
    return numbers


def frechet_name(data: DataSpec) -> str:
    return "frechet/pixels" if len(data.shown.shape) == 3 else "frechet/coordinates"


def _sample_numbers(
    task: CheckpointTask,
    fake: np.ndarray,
    train: np.ndarray,
    test: np.ndarray | None,
    samples: SampleSet,
) -> list[Number]:
    plan = task.plan
    real, count = train if test is None else np.concatenate([train, test]), len(fake)
    everything = Moments.of(real)
    rng = np.random.default_rng(stream_seed(plan.seed, Use.BOOTSTRAP))
    fitted = rng.multivariate_normal(everything.mean, everything.covariance, size=count, method="eigh")

    def distance(rows: np.ndarray) -> float:
        return frechet_distance(Moments.of(rows), everything)

    error = bootstrap(distance, fake, stream_seed(plan.seed, Use.BOOTSTRAP))
    ours = precision_recall(real, fake)
    data = plan.data.shown
    things = "images" if len(data.shape) == 3 else "points"
    things = things if plan.data.latents is None else f"decoded {things}"
    unit = "squared levels" if data.levels else "squared units of the data"
    if data.levels:
        fitted = np.clip(fitted.round(), 0, data.levels - 1)
    space = f"{'PCA-20' if fake.shape[1] > 20 else 'coordinates'}, k=3"
    number = partial(task.number, count=count, nfe=samples.nfe, seconds=samples.seconds)
    numbers = [
        number(frechet_name(plan.data), distance(fake), error, unit=unit, note=f"to all real {things}"),
        task.number(
            "frechet/fitted Gaussian",
            distance(fitted),
            None,
            count=count,
            unit=unit,
            note="reference: samples of it",
        ),
        number("precision", ours.precision.value, ours.precision.stderr, unit="", note=space),
        number("recall", ours.recall.value, ours.recall.stderr, unit="", note=space),
    ]
    if test is None:
        return numbers
    of_test = precision_recall(train, test)
    numbers[1:1] = [
        task.number(
            f"frechet/training {things} to test {things}",
            frechet_distance(Moments.of(train), Moments.of(test)),
            None,
            count=len(test),
            unit=unit,
            note="reference",
        )
    ]
    numbers[4:4] = [
        task.number(
            f"precision/test {things}",
            of_test.precision.value,
            of_test.precision.stderr,
            count=len(test),
            unit="",
            note=f"reference: real test {things} against training {things}",
        )
    ]
    if data.levels:
        copied = copies(fake, train, test)
        numbers.append(
            number(
                "copies",
                copied.value,
                copied.stderr,
                unit="",
                note="nearer to a training image than 99.7 % of real test images",
            )
        )
    return numbers
