"""Likelihoods of data by the probability-flow ODE, beside what they can be compared with."""

from __future__ import annotations

import math

import numpy as np
import torch

from likelihood import ExactTrace, Hutchinson, bits_per_dim, log_likelihood
from run_lib.data import Arrays
from run_lib.eval_task import Task, mean
from run_lib.files import atomic
from run_lib.streams import Use, stream_seed
from sde_lib.integrate import Outcome
from sde_lib.noise import Noise


def evaluate_ode(task: Task) -> None:
    """Likelihood of the chosen split by the probability-flow ODE: bits/dim and nats, or nats alone."""
    e, settings = task.experiment, task.experiment.evaluation
    split = settings.split
    headline = f"bpd/{split}" if e.data.levels else f"nats/{split}"
    if task.report.has(headline, task.state.step, e.config_hash):
        return
    arrays = e.data.load(split)
    images, repeats = settings.bpd_num_images or len(arrays), settings.bpd_repeats
    divergence = (
        ExactTrace()
        if settings.bpd_divergence == "exact"
        else Hutchinson(settings.bpd_divergence, settings.bpd_probes)
    )
    dims = math.prod(e.data.shape)

    def compute(rows: range) -> dict[str, np.ndarray]:
        # Row r is repeat r // images of image r % images, with dequantisation noise and probes of its own.
        which = torch.arange(rows.start, rows.stop) % images
        noise = Noise(stream_seed(e.seed, Use.LIKELIHOOD), rows, e.device)
        data = arrays.images[which].to(e.device)
        x = e.data.dequantized(data, noise) if e.data.levels else data
        cond = e.task.conditions(x, arrays.labels[which])
        found = log_likelihood(
            e.model,
            x,
            noise,
            divergence=divergence,
            rtol=settings.bpd_rtol,
            atol=settings.bpd_atol,
            method=settings.bpd_solver,
            t_min=settings.t_min,
            truncation=settings.bpd_truncation,
            **cond,  # type: ignore[arg-type]
        )
        return {
            "logp": found.logp.cpu().numpy(),
            "nfe": found.nfe.cpu().numpy(),
            "outcome": found.outcome.cpu().numpy(),
        }

    found = task.batches(f"bpd_{split}", images * repeats, settings.batch_size, compute)
    logp = found["logp"].reshape(repeats, images)
    good = np.isfinite(logp).all(0)
    for index in np.flatnonzero(~good)[:20]:
        reason = (
            Outcome(int(found["outcome"].reshape(repeats, images)[:, index].max()))
            .name.lower()
            .replace("_", " ")
        )
        print(f"image {index} of the {split} split has no likelihood: {reason}")
    if not good.any():
        raise ValueError(
            f"no image of the {split} split has a likelihood; the model explodes or the data are not finite."
        )
    per_image = logp[:, good].mean(0)
    with (
        atomic(task.parts.parent.parent / f"likelihood_{split}_{task.state.step}.npz") as partial,
        partial.open("wb") as file,
    ):
        np.savez(file, logp=logp, nfe=found["nfe"].reshape(repeats, images))
    draws = f"{repeats} {'dequantisation' if e.data.levels else 'draw'}{'s' if repeats > 1 else ''} a sample"
    note = f"ODE, {settings.bpd_divergence}, {draws}"
    common = {"count": int(good.sum()), "nfe": float(found["nfe"].mean()), "seconds": float(found["seconds"])}
    nats, nats_error = mean(-per_image)
    numbers = [task.number(f"nats/{split}", nats, nats_error, unit="nats", note=note, **common)]  # type: ignore[arg-type]
    if e.data.density is not None:
        exact = -e.data.density.log_density(arrays.images[:images].to(e.device)).cpu().numpy()[good]
        numbers.append(
            task.number(
                f"nats/{split}, exact",
                *mean(exact),
                count=int(good.sum()),
                unit="nats",
                note="reference: the density in closed form, of the same samples",
            )
        )
    if e.data.levels:
        bits = bits_per_dim(
            torch.from_numpy(per_image), dims, levels=e.data.levels, data_range=e.data.range
        ).numpy()
        value, stderr = mean(bits)
        numbers += [
            task.number(headline, value, stderr, unit="bits/dim", note=note, **common),  # type: ignore[arg-type]
            task.number(
                "bpd/uniform density",
                math.log2(e.data.levels),
                None,
                count=0,
                unit="bits/dim",
                note="log2(levels)",
            ),
            task.number(
                f"bpd/pixel histograms, {split}",
                *_histogram_bpd(e.data.load("train"), arrays, e.data.levels),
                count=len(arrays),
                unit="bits/dim",
                note="independent pixels, fitted to the training split",
            ),
        ]
    task.report.add(*numbers)


def _histogram_bpd(train: Arrays, test: Arrays, levels: int) -> tuple[float, float]:
    """Bits/dim of a model with independent pixels: each one's histogram over training images, plus one count."""
    fitted, asked = (a.images.flatten(1).long().numpy() for a in (train, test))
    counts = np.stack([np.bincount(column, minlength=levels) + 1.0 for column in fitted.T])
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    return mean(bits[np.arange(fitted.shape[1]), asked].mean(1))
