"""Samples against data, in pixel space, with the numbers that real data would have."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from run_lib.data.levels import DataSpec
from run_lib.evaluation.metrics import (
    Gaussian,
    Labelled,
    copies,
    frechet_distance,
    precision_recall,
    recognised,
)
from run_lib.evaluation.report import Number
from run_lib.evaluation.task import CheckpointTask
from run_lib.pictures import picture, save_png
from run_lib.sample import draw
from run_lib.seeds import Use, stream_seed
from run_lib.statistics import bootstrap, share


def evaluate_sampling(task: CheckpointTask, num_samples: int) -> None:
    """Samples against data in pixel space: Frechet distance, precision and recall, copies; with their floors."""
    plan = task.plan
    if task.has(_frechet_name(plan.data)):
        return
    without = "what compares with test data"
    held = {"train": plan.data.load("train"), "test": plan.data.load_if_any("test", without)}

    def drawn(rows: range) -> dict[str, np.ndarray]:
        batch = draw(plan.samples, rows)
        labels = np.zeros(0) if batch.labels is None else batch.labels.cpu().numpy()
        return {"levels": batch.levels.numpy(), "nfe": np.full(len(rows), batch.nfe), "labels": labels}

    none = {"levels": np.zeros((0, *plan.data.shape)), "nfe": np.zeros(0), "labels": np.zeros(0)}

    def compute(rows: range) -> dict[str, np.ndarray]:
        return task.samples(lambda: drawn(rows), like=none)

    found = task.batches("samples", num_samples, plan.samples.settings.batch_size, compute)
    if task.lose_samples(_frechet_name(plan.data), found["lost"]):
        return
    shown = torch.from_numpy(found["levels"][: plan.samples.settings.grid_size])
    if task.processes.is_main:
        save_png(picture(shown, plan.data), task.parts.parent.parent / f"samples_{task.step}.png")
    fake = found["levels"].reshape(num_samples, -1).astype(np.float64)
    real = {
        name: Labelled(split.images.flatten(1).double().numpy(), split.labels.numpy())
        for name, split in held.items()
        if split is not None
    }
    train, test = real["train"], real.get("test")
    nfe, seconds = float(found["nfe"].mean()), float(found["seconds"])
    task.report.add(
        *_sample_numbers(task, fake, train.features, None if test is None else test.features, nfe, seconds)
    )
    if found["labels"].size:
        task.report.add(*_label_numbers(task, Labelled(fake, found["labels"]), train, test))


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


def _frechet_name(data: DataSpec) -> str:
    return "frechet/pixels" if len(data.shape) == 3 else "frechet/coordinates"


def _sample_numbers(
    task: CheckpointTask,
    fake: np.ndarray,
    train: np.ndarray,
    test: np.ndarray | None,
    nfe: float,
    seconds: float,
) -> list[Number]:
    plan = task.plan
    real, count = train if test is None else np.concatenate([train, test]), len(fake)
    everything = Gaussian.fit(real)
    rng = np.random.default_rng(stream_seed(plan.seed, Use.BOOTSTRAP))
    fitted = rng.multivariate_normal(everything.mean, everything.covariance, size=count, method="eigh")

    def distance(samples: np.ndarray) -> float:
        return frechet_distance(Gaussian.fit(samples), everything)

    error = bootstrap(distance, fake, stream_seed(plan.seed, Use.BOOTSTRAP))
    ours = precision_recall(real, fake)
    things = "images" if len(plan.data.shape) == 3 else "points"
    unit = "squared levels" if plan.data.levels else "squared units of the data"
    if plan.data.levels:
        fitted = np.clip(fitted.round(), 0, plan.data.levels - 1)
    space = f"{'PCA-20' if fake.shape[1] > 20 else 'coordinates'}, k=3"
    number = partial(task.number, count=count, nfe=nfe, seconds=seconds)
    numbers = [
        number(_frechet_name(plan.data), distance(fake), error, unit=unit, note=f"to all real {things}"),
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
            frechet_distance(Gaussian.fit(train), Gaussian.fit(test)),
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
    if plan.data.levels:
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
