"""Evaluation of what is known of a chain: the variational bound, and a classifier's accuracy by noise
level."""

from __future__ import annotations

import math

import numpy as np
import torch

from likelihood import variational_bound
from models.classifier import NoisyClassifier
from run_lib.eval_task import Task
from run_lib.files import atomic
from run_lib.metrics import proportion
from run_lib.report import Number
from run_lib.streams import Use, stream_seed
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.noise import Noise
from sde_lib.respacing import kept_levels


def evaluate_vlb(task: Task) -> None:
    """The variational bound of the chosen split: total, prior, steps and reconstruction, image by image.

    ``vlb_<split>_<step>.npz`` holds them in nats, with the cost of each step and the errors at each time.
    """
    e, settings = task.experiment, task.experiment.evaluation
    split = settings.split
    unit = "bits/dim" if e.data.levels else "nats"
    headline = f"{'vlb' if e.data.levels else 'vlb nats'}/{split}"
    if task.report.has(headline, task.state.step, e.config_hash):
        return
    chain = e.bound_model.process
    assert isinstance(chain, DiscreteDiffusion), "the check before any work refuses others"
    times = None
    if settings.bpd_respacing is not None:
        times = torch.tensor(kept_levels(chain.num_levels, settings.bpd_respacing)[::-1])
    arrays = e.data.load(split)
    images, repeats = settings.bpd_num_images or len(arrays), settings.bpd_repeats

    def compute(rows: range) -> dict[str, np.ndarray]:
        which = torch.arange(rows.start, rows.stop) % images
        noise = Noise(stream_seed(e.seed, Use.LIKELIHOOD), rows, e.device)
        x0 = e.data.at_levels(arrays.images[which].to(e.device))
        found = variational_bound(
            e.bound_model, x0, noise, bins=e.data.bins, variance=settings.bpd_variance, times=times,  # type: ignore[arg-type]
            **e.task.conditions(x0, arrays.labels[which]),
        )  # fmt: skip
        parts = {"total": found.total, "prior": found.prior, "reconstruction": found.reconstruction,
                 "steps": found.steps, "x0_mse": found.x0_mse, "eps_mse": found.eps_mse}  # fmt: skip
        return {name: part.cpu().numpy() for name, part in parts.items()}

    found = task.batches(f"vlb_{split}", images * repeats, settings.batch_size, compute)
    path = task.parts.parent.parent / f"vlb_{split}_{task.state.step}.npz"
    with atomic(path) as partial, partial.open("wb") as file:
        t = torch.arange(chain.num_levels).flip(0) if times is None else times
        np.savez(file, t=t.numpy(), **found)  # type: ignore[arg-type]
    scale = 1 / (math.prod(e.data.shape) * math.log(2)) if e.data.levels else 1.0
    nfe = found["eps_mse"].shape[1]

    def number(name: str, nats: np.ndarray, note: str) -> Number:
        values = scale * nats.reshape(repeats, images).mean(0)
        error = float(values.std(ddof=1) / math.sqrt(images)) if images > 1 else math.nan
        return task.number(name, float(values.mean()), error, count=images, unit=unit, nfe=nfe,
                           seconds=float(found["seconds"]), note=note)  # fmt: skip

    note = f"upper bound, {nfe} steps, variance {settings.bpd_variance}"
    task.report.add(
        number(headline, found["total"], note),
        number(f"{headline}, prior", found["prior"], "its part: the noisiest level against the prior"),
        number(f"{headline}, steps", found["steps"].sum(1), "its part: the steps between levels"),
        number(
            f"{headline}, reconstruction",
            found["reconstruction"],
            "its part: the data given the cleanest level",
        ),
    )


def evaluate_accuracy(task: Task) -> None:
    """Share of the chosen split that a classifier gets right, at times spread evenly from the cleanest."""
    e, settings = task.experiment, task.experiment.evaluation
    split, classifier = settings.split, e.loss_model
    assert isinstance(classifier, NoisyClassifier), "the check before any work refuses others"
    process = classifier.process
    arrays = e.data.load(split)
    first, last = process.t_end, process.start
    for time in process.time(
        torch.linspace(first, last, settings.accuracy_levels, dtype=torch.float64)
    ).tolist():
        name = f"accuracy/{split}, t={time:.4g}"
        if task.report.has(name, task.state.step, e.config_hash):
            continue

        @torch.no_grad()
        def compute(rows: range, time: float = time) -> dict[str, np.ndarray]:
            noise = Noise(stream_seed(e.seed, Use.EVAL_LOSS), rows, e.device)
            x0 = e.data.training_batch(arrays.images[rows.start : rows.stop].to(e.device), noise)
            t = process.time([time] * len(rows)).to(e.device)
            logits = classifier(process.perturb(x0, t, noise).x, t)
            return {"right": (logits.argmax(1).cpu() == arrays.labels[rows.start : rows.stop]).numpy()}

        found = task.batches(f"accuracy_{time:.4g}", len(arrays), settings.batch_size, compute)
        share = proportion(found["right"])
        task.report.add(task.number(name, share.value, share.stderr, count=len(arrays), unit="", nfe=1,
                                    seconds=float(found["seconds"])))  # fmt: skip
