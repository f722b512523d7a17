"""Evaluation of checkpoints: loss, bits/dim, samples. Every number goes into one report, and none is made twice."""

from __future__ import annotations

import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from likelihood import ExactTrace, Hutchinson, bits_per_dim, log_likelihood
from run_lib.build import Experiment
from run_lib.data import Arrays
from run_lib.evaluate_bound import evaluate_accuracy, evaluate_vlb
from run_lib.files import atomic
from run_lib.metrics import Gaussian, Labelled, bootstrap, copies, frechet_distance, precision_recall, recognised
from run_lib.pictures import picture, save_png
from run_lib.report import Number, Report
from run_lib.run import Run
from run_lib.sample import batches, draw
from run_lib.state import TrainState
from run_lib.streams import Use, stream_seed
from sde_lib.base import SDE
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.integrate import Outcome
from sde_lib.noise import Noise


@dataclass(frozen=True)
class Task:
    """One checkpoint under evaluation.

    ``parts`` holds what each batch gave, so that an interrupted evaluation goes on where it stopped.
    """

    run: Run
    state: TrainState
    report: Report
    parts: Path

    @property
    def experiment(self) -> Experiment:
        return self.run.experiment

    def number(self, name: str, value: float, stderr: float | None, *, count: int, unit: str, nfe: float = 0,
               seconds: float = 0, note: str = "") -> Number:
        e = self.experiment
        return Number(name, value, stderr, count, unit, nfe, seconds, e.seed, e.config_hash, self.state.step, note)

    def batch(self, name: str, index: int, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """What a batch gave: read if it is there, else computed and written."""
        path = self.parts / f"{name}_{index:05d}.npz"
        if path.is_file():
            try:
                with path.open("rb") as file, np.load(file) as held:
                    return dict(held)
            except (ValueError, zipfile.BadZipFile, EOFError):
                path.unlink()
        started = time.perf_counter()
        arrays = compute()
        arrays["seconds"] = np.array(time.perf_counter() - started)
        with atomic(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return arrays

    def batches(self, name: str, total: int, size: int,
                compute: Callable[[range], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """All batches of a task, joined; ``seconds`` is their sum."""
        bar = tqdm(list(batches(total, size)), desc=name, unit="batch")
        parts = [self.batch(name, i, lambda rows=rows: compute(rows)) for i, rows in enumerate(bar)]  # type: ignore[misc]
        joined = {key: np.concatenate([p[key] for p in parts]) for key in parts[0] if key != "seconds"}
        return {**joined, "seconds": np.sum([p["seconds"] for p in parts])}


def check(run: Run) -> None:
    """Refuse an evaluation that cannot be done, before any work.

    Raises:
        ValueError: nothing enabled, missing data, numbers that do not fit the data or the process.
    """
    e, settings = run.experiment, run.experiment.evaluation
    if not any(getattr(settings, field) for field in TASKS):
        raise ValueError(f"nothing to evaluate: set one of {', '.join(f'--config.eval.{f}' for f in TASKS)}.")
    count = len(e.data.load(settings.split))
    process, dims = e.model.process, math.prod(e.data.shape)
    e.task.check(e.data.load(settings.split), f"the {settings.split} split of {e.data.name}")
    if e.task.generates == settings.enable_accuracy:
        raise ValueError("eval.enable_accuracy is for training.task='classifier', and goes with it: set it to "
                         f"{not e.task.generates}.")
    if not e.task.generates and (settings.enable_bpd or settings.enable_sampling):
        raise ValueError("a classifier has no likelihood and no samples: set eval.enable_bpd and enable_sampling to False.")
    by_ode = settings.enable_bpd and settings.bpd_method != "vlb"
    if settings.enable_bpd and settings.bpd_method != "ode" and not isinstance(e.bound_model.process, DiscreteDiffusion):
        raise ValueError(f"eval.bpd_method={settings.bpd_method!r} bounds the likelihood of a chain, and "
                         f"{type(e.bound_model.process).__name__} is none: set training.sde='ddpm', or 'vpsde' with "
                         f"training.continuous=False, or bpd_method='ode'.")
    if by_ode and isinstance(process, SDE):
        if not 0 < (process.t_min if settings.t_min is None else settings.t_min) < process.T:
            raise ValueError(f"config.eval.t_min must lie between 0 and {process.T:g}, got {settings.t_min}.")
    elif by_ode:
        raise ValueError(f"eval.bpd_method={settings.bpd_method!r} solves an ODE and needs an SDE; "
                         f"{type(process).__name__} is none. Take bpd_method='vlb', or training.sde='vpsde' or 'vesde' "
                         f"with training.continuous=False, which share the chain's network.")
    if settings.enable_sampling and settings.num_samples <= dims:
        raise ValueError(f"eval.num_samples={settings.num_samples} cannot give a covariance of {dims} coordinates; "
                         f"ask for more.")
    if settings.enable_bpd and settings.bpd_num_images > count:
        raise ValueError(f"eval.bpd_num_images={settings.bpd_num_images} but the {settings.split} split has {count}.")


def evaluate(run: Run) -> None:
    """Run every enabled evaluation on every chosen checkpoint.

    Raises:
        ValueError: nothing enabled, no checkpoint, missing data.
    """
    check(run)
    e, settings = run.experiment, run.experiment.evaluation
    chosen = [task for field, task in TASKS.items() if getattr(settings, field)]
    folder = run.workdir / run.eval_folder
    report = Report(folder / "report.json")
    for step in _steps(run):
        state = run.trained_state(step)
        parts = folder / "parts" / f"{state.step}-{e.config_hash}"
        with state.ema.average(e.network):
            for task in chosen:
                task(Task(run, state, report, parts))
        _summary(report, state.step, e.config_hash)
    print(f"report: {report.path}")


def _steps(run: Run) -> list[int | None]:
    """Checkpoints to evaluate: a list of steps, a range of snapshots, or (None) the latest."""
    settings, every = run.experiment.evaluation, run.experiment.training.snapshot_freq
    if settings.checkpoints:
        return list(settings.checkpoints)
    if settings.begin_ckpt:
        return [n * every for n in range(settings.begin_ckpt, max(settings.begin_ckpt, settings.end_ckpt) + 1)]
    return [None]


def _summary(report: Report, step: int, config_hash: str) -> None:
    numbers = report.of(step, config_hash)
    width = max((len(n.name) for n in numbers), default=0)
    print(f"\ncheckpoint of step {step}")
    for n in numbers:
        print(f"  {n.name:<{width}}  {n}{'   ' + n.note if n.note else ''}")


def _mean(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def evaluate_loss(task: Task) -> None:
    """The training loss on the chosen split, averaged over images, times and noise."""
    e, split = task.experiment, task.experiment.evaluation.split
    name = f"loss/{split}"
    if task.report.has(name, task.state.step, e.config_hash):
        return
    arrays = e.data.load(split)

    @torch.no_grad()
    def compute(rows: range) -> dict[str, np.ndarray]:
        noise = Noise(stream_seed(e.seed, Use.EVAL_LOSS), rows, e.device)
        x0 = e.data.training_batch(arrays.images[rows.start : rows.stop].to(e.device), noise)
        cond = e.task.conditions(x0, arrays.labels[rows.start : rows.stop])
        losses = e.loss(e.loss_model, x0, noise, **cond)  # type: ignore[arg-type]
        return {"loss": losses.values.double().cpu().numpy()}

    found = task.batches("loss", len(arrays), e.evaluation.batch_size, compute)
    value, stderr = _mean(found["loss"])
    task.report.add(task.number(name, value, stderr, count=len(arrays), unit="", nfe=1, seconds=float(found["seconds"])))


def evaluate_bpd(task: Task) -> None:
    """Likelihood of the chosen split, as ``eval.bpd_method`` says."""
    method = task.experiment.evaluation.bpd_method
    if method != "vlb":
        evaluate_ode(task)
    if method != "ode":
        evaluate_vlb(task)


def evaluate_ode(task: Task) -> None:
    """Likelihood of the chosen split by the probability-flow ODE: bits/dim and nats, or nats alone."""
    e, settings = task.experiment, task.experiment.evaluation
    split = settings.split
    headline = f"bpd/{split}" if e.data.levels else f"nats/{split}"
    if task.report.has(headline, task.state.step, e.config_hash):
        return
    arrays = e.data.load(split)
    images, repeats = settings.bpd_num_images or len(arrays), settings.bpd_repeats
    divergence = ExactTrace() if settings.bpd_divergence == "exact" else Hutchinson(
        settings.bpd_divergence, settings.bpd_probes)  # type: ignore[arg-type]
    dims = math.prod(e.data.shape)

    def compute(rows: range) -> dict[str, np.ndarray]:
        # Row r is repeat r // images of image r % images, with dequantisation noise and probes of its own.
        which = torch.arange(rows.start, rows.stop) % images
        noise = Noise(stream_seed(e.seed, Use.LIKELIHOOD), rows, e.device)
        data = arrays.images[which].to(e.device)
        x = e.data.dequantized(data, noise) if e.data.levels else data
        cond = e.task.conditions(x, arrays.labels[which])
        found = log_likelihood(
            e.model, x, noise, divergence=divergence, rtol=settings.bpd_rtol, atol=settings.bpd_atol,
            method=settings.bpd_solver, t_min=settings.t_min, truncation=settings.bpd_truncation, **cond,  # type: ignore[arg-type]
        )
        return {"logp": found.logp.cpu().numpy(), "nfe": found.nfe.cpu().numpy(),
                "outcome": found.outcome.cpu().numpy()}

    found = task.batches(f"bpd_{split}", images * repeats, settings.batch_size, compute)
    logp = found["logp"].reshape(repeats, images)
    good = np.isfinite(logp).all(0)
    for index in np.flatnonzero(~good)[:20]:
        reason = Outcome(int(found["outcome"].reshape(repeats, images)[:, index].max())).name.lower().replace("_", " ")
        print(f"image {index} of the {split} split has no likelihood: {reason}")
    if not good.any():
        raise ValueError(f"no image of the {split} split has a likelihood; the model explodes or the data are not finite.")
    per_image = logp[:, good].mean(0)
    with atomic(task.parts.parent.parent / f"likelihood_{split}_{task.state.step}.npz") as partial, partial.open("wb") as file:
        np.savez(file, logp=logp, nfe=found["nfe"].reshape(repeats, images))
    draws = f"{repeats} {'dequantisation' if e.data.levels else 'draw'}{'s' if repeats > 1 else ''} a sample"
    note = f"ODE, {settings.bpd_divergence}, {draws}"
    common = {"count": int(good.sum()), "nfe": float(found["nfe"].mean()), "seconds": float(found["seconds"])}
    nats, nats_error = _mean(-per_image)
    numbers = [task.number(f"nats/{split}", nats, nats_error, unit="nats", note=note, **common)]  # type: ignore[arg-type]
    if e.data.density is not None:
        exact = -e.data.density.log_density(arrays.images[:images].to(e.device)).cpu().numpy()[good]
        numbers.append(task.number(f"nats/{split}, exact", *_mean(exact), count=int(good.sum()), unit="nats",
                                   note="reference: the density in closed form, of the same samples"))
    if e.data.levels:
        bits = bits_per_dim(torch.from_numpy(per_image), dims, levels=e.data.levels, data_range=e.data.range).numpy()
        value, stderr = _mean(bits)
        numbers += [
            task.number(headline, value, stderr, unit="bits/dim", note=note, **common),  # type: ignore[arg-type]
            task.number("bpd/uniform density", math.log2(e.data.levels), None, count=0, unit="bits/dim", note="log2(levels)"),
            task.number(f"bpd/pixel histograms, {split}", *_histogram_bpd(e.data.load("train"), arrays, e.data.levels),
                        count=len(arrays), unit="bits/dim", note="independent pixels, fitted to the training split"),
        ]
    task.report.add(*numbers)


def _histogram_bpd(train: Arrays, test: Arrays, levels: int) -> tuple[float, float]:
    """Bits/dim of a model with independent pixels: each one's histogram over training images, plus one count."""
    fitted, asked = (a.images.flatten(1).long().numpy() for a in (train, test))
    counts = np.stack([np.bincount(column, minlength=levels) + 1.0 for column in fitted.T])
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    return _mean(bits[np.arange(fitted.shape[1]), asked].mean(1))


def evaluate_sampling(task: Task) -> None:
    """Samples against data in pixel space: Frechet distance, precision and recall, copies; with their floors."""
    e, settings = task.experiment, task.experiment.evaluation
    if task.report.has(_frechet_name(e), task.state.step, e.config_hash):
        return
    splits = {split: e.data.load(split) for split in ("train", "test")}

    def compute(rows: range) -> dict[str, np.ndarray]:
        batch = draw(e, rows)
        labels = np.zeros(0) if batch.labels is None else batch.labels.cpu().numpy()
        return {"levels": batch.levels.numpy(), "nfe": np.full(len(rows), batch.nfe), "labels": labels}

    found = task.batches("samples", settings.num_samples, e.sampling.batch_size, compute)
    shown = torch.from_numpy(found["levels"][: e.sampling.grid_size])
    save_png(picture(shown, e.data), task.parts.parent.parent / f"samples_{task.state.step}.png")
    fake = found["levels"].reshape(settings.num_samples, -1).astype(np.float64)
    train, test = (splits[s].images.flatten(1).double().numpy() for s in ("train", "test"))
    task.report.add(*_sample_numbers(task, fake, train, test, float(found["nfe"].mean()), float(found["seconds"])))
    if e.num_classes:
        task.report.add(*_label_numbers(task, Labelled(fake, found["labels"]), *(
            Labelled(splits[s].images.flatten(1).double().numpy(), splits[s].labels.numpy()) for s in ("train", "test"))))


def _label_numbers(task: Task, fake: Labelled, train: Labelled, test: Labelled) -> list[Number]:
    """How many samples a classifier of the training pixels takes for the class that they were asked for."""
    asked, real = recognised(train, fake), recognised(train, test)
    lowest = min(asked.by_class, key=lambda k: asked.by_class[k].value)
    worst, note = asked.by_class[lowest], "support vector classifier of the training pixels"
    return [
        task.number("labels recognised", asked.overall.value, asked.overall.stderr, count=len(fake.labels), unit="", note=note),
        task.number("labels recognised, least", worst.value, worst.stderr, count=int((fake.labels == lowest).sum()),
                    unit="", note=f"of class {lowest}"),
        task.number("labels recognised/test", real.overall.value, real.overall.stderr, count=len(test.labels), unit="",
                    note="reference: real test images"),
    ]


def _frechet_name(e: Experiment) -> str:
    return "frechet/pixels" if len(e.data.shape) == 3 else "frechet/coordinates"


def _sample_numbers(task: Task, fake: np.ndarray, train: np.ndarray, test: np.ndarray, nfe: float,
                    seconds: float) -> list[Number]:
    e = task.experiment
    real, count = np.concatenate([train, test]), len(fake)
    everything = Gaussian.fit(real)
    rng = np.random.default_rng(stream_seed(e.seed, Use.BOOTSTRAP))
    fitted = rng.multivariate_normal(everything.mean, everything.covariance, size=count, method="eigh")

    def distance(samples: np.ndarray) -> float:
        return frechet_distance(Gaussian.fit(samples), everything)

    error = bootstrap(distance, fake, stream_seed(e.seed, Use.BOOTSTRAP))
    ours, of_test = precision_recall(real, fake), precision_recall(train, test)
    things = "images" if len(e.data.shape) == 3 else "points"
    unit = "squared levels" if e.data.levels else "squared units of the data"
    if e.data.levels:
        fitted = np.clip(fitted.round(), 0, e.data.levels - 1)
    space = f"{'PCA-20' if fake.shape[1] > 20 else 'coordinates'}, k=3"
    cost = {"count": count, "nfe": nfe, "seconds": seconds}
    numbers = [
        task.number(_frechet_name(e), distance(fake), error, unit=unit, note=f"to all real {things}", **cost),  # type: ignore[arg-type]
        task.number(f"frechet/training {things} to test {things}",
                    frechet_distance(Gaussian.fit(train), Gaussian.fit(test)), None, count=len(test), unit=unit, note="reference"),
        task.number("frechet/fitted Gaussian", distance(fitted), None, count=count, unit=unit,
                    note="reference: samples of it"),
        task.number("precision", ours.precision.value, ours.precision.stderr, unit="", note=space, **cost),  # type: ignore[arg-type]
        task.number(f"precision/test {things}", of_test.precision.value, of_test.precision.stderr, count=len(test), unit="",
                    note=f"reference: real test {things} against training {things}"),
        task.number("recall", ours.recall.value, ours.recall.stderr, unit="", note=space, **cost),  # type: ignore[arg-type]
    ]
    if e.data.levels:
        copied = copies(fake, train, test)
        numbers.append(task.number("copies", copied.value, copied.stderr, unit="", **cost,  # type: ignore[arg-type]
                                   note="nearer to a training image than 99.7 % of real test images"))
    return numbers


TASKS: dict[str, Callable[[Task], None]] = {
    "enable_loss": evaluate_loss,
    "enable_bpd": evaluate_bpd,
    "enable_sampling": evaluate_sampling,
    "enable_accuracy": evaluate_accuracy,
}
