"""Likelihoods of data by the probability-flow ODE."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from likelihood import importance_weighted, log_likelihood
from run_lib.computing.steps import Velocities
from run_lib.data.latents import Latents
from run_lib.data.levels import DataSpec
from run_lib.evaluation.dequantisation import dequantisation
from run_lib.evaluation.followed import FollowedFlow
from run_lib.evaluation.likelihood_errors import spread
from run_lib.evaluation.likelihood_references import references
from run_lib.evaluation.likelihoods import FlowLikelihood
from run_lib.evaluation.report import Number
from run_lib.evaluation.subset import Draws, precise_enough
from run_lib.evaluation.task import CheckpointTask
from run_lib.seeds import Use, stream_seed
from run_lib.sharing.parts import Finds
from sde_lib.integrate import Outcome
from sde_lib.noise import Noise

if TYPE_CHECKING:
    from run_lib.evaluation.builtin import BitsPerDim


def make_draws(task: CheckpointTask, bpd: BitsPerDim) -> Draws:
    """The images and repeats of an evaluation, in a random order where it may stop early."""
    plan = task.plan
    images = bpd.num_images or len(plan.data.load(plan.settings.split))
    seed = stream_seed(plan.seed, Use.ORDER) if bpd.quick else None
    return Draws.of(images, bpd.repeats, seed)


BITS_OF_LATENTS = "bits per latent dimension"
"""Unit of a density of latents: they have no levels, whose cost it would be."""


def measured_split(data: DataSpec, split: str) -> str:
    """What a likelihood is of, as the names of numbers have it."""
    return split if data.latents is None else f"latents of {split}"


def said_of_latents(latents: Latents) -> str:
    """What a likelihood of latents is, and what it is not."""
    return (
        f"density of the latents of {latents.name}, before they are scaled, and not of images: it has no levels and is "
        f"not dequantised"
    )


def evaluate_ode(task: CheckpointTask, bpd: BitsPerDim, flow: FlowLikelihood) -> None:
    """Likelihood of the chosen split by the probability-flow ODE: bits/dim and nats, or nats alone; of latents, nats
    and bits for each of their dimensions."""
    plan, settings = task.plan, task.plan.settings
    split, step = settings.split, task.step
    measured = measured_split(plan.data, split)
    headline = f"bpd/{split}" if plan.data.levels else f"nats/{measured}"
    if task.has(headline):
        return
    data, draws = plan.data.load(split), make_draws(task, bpd)
    dequantise = dequantisation(task, bpd.dequantisation) if plan.data.levels else None
    velocities = Velocities()

    @torch.no_grad()
    def compute(rows: range) -> dict[str, np.ndarray]:
        which = draws.images(rows)
        noise = Noise(stream_seed(plan.seed, Use.LIKELIHOOD), draws.streams(rows), plan.device)
        some = data.read(which)
        x, log_q = some.images.to(plan.device), torch.zeros(len(rows), dtype=torch.float64)
        if dequantise is not None:
            drawn = dequantise(x, noise)
            x, log_q = drawn.x, drawn.log_q.cpu()
        cond = plan.task.conditions(x, some.labels)
        found = log_likelihood(
            plan.samples.model,
            x,
            noise,
            divergence=flow.trace.divergence,
            rtol=flow.rtol,
            atol=flow.atol,
            method=flow.solver,
            t_min=flow.t_min,
            truncation=flow.truncation,
            max_steps=flow.max_steps,
            moving=FollowedFlow(velocities),
            **cond,  # type: ignore[arg-type]
        )
        return {
            "logp": (found.logp.cpu() - log_q).numpy(),
            "log_q": log_q.numpy(),
            "stderr": found.stderr.cpu().numpy(),
            "nfe": found.nfe.cpu().numpy(),
            "outcome": found.outcome.cpu().numpy(),
            **({"z": found.z.cpu().numpy()} if flow.latents else {}),
        }

    unit = 1 / (math.prod(plan.data.shape) * math.log(2)) if plan.data.levels else 1.0

    def combined(logp: np.ndarray) -> np.ndarray:
        if flow.importance_weighted:
            return importance_weighted(torch.from_numpy(logp)).numpy()
        return logp.mean(0)

    def enough(found: dict[str, np.ndarray]) -> bool:
        return precise_enough(unit * combined(draws.by_image(found["logp"])), bpd.target)

    size = draws.batch_size(settings.batch_size)
    found = task.batches(
        f"bpd_{split}",
        len(draws),
        size,
        compute,
        enough if bpd.quick else None,
        Finds("nats", lambda part: -part["logp"]),
    )
    seconds = float(found.pop("seconds"))
    tables = {name: draws.by_image(values) for name, values in found.items()}
    logp = tables["logp"]
    used = draws.order[: logp.shape[1]]
    good = np.isfinite(logp).all(0)
    if latents := ({"z": tables.pop("z")} if flow.latents else {}):
        task.save(f"latents_{split}_{step}.npz", index=used, **latents)
    task.save(f"likelihood_{split}_{step}.npz", index=used, **tables)
    if not good.all():
        worst = tables["outcome"].max(0)
        reasons = {int(used[i]): _reason(int(worst[i])) for i in np.flatnonzero(~good)}
        task.lose(headline, dict(sorted(reasons.items())))
    if not good.any():
        return
    errors = spread(
        logp[:, good],
        tables["stderr"][:, good],
        noisy=bool(plan.data.levels) or flow.truncation == "noised",
        importance_weighted=flow.importance_weighted,
    )
    note, common = (
        _note(task, bpd, flow, len(used), len(draws.order)),
        {"count": int(good.sum()), "seconds": seconds},
    )
    nfe = float(tables["nfe"][:, good].mean())

    def number(name: str, scale: float, offset: float, unit: str) -> Number:
        scaled = errors.scaled(scale)
        return task.number(
            name, offset - scale * errors.value, scaled.together, unit=unit, nfe=nfe, note=note, errors=scaled,
            **common,  # type: ignore[arg-type]
        )  # fmt: skip

    modelled = plan.data.latents
    volume = (
        0.0 if modelled is None else modelled.log_volume
    )  # that of the codec's own latents, however scaled
    numbers = [number(f"nats/{measured}", 1.0, volume, "nats")]
    if modelled is not None:
        bits = 1 / (math.prod(plan.data.shape) * math.log(2))
        numbers.append(number(f"bpd/{measured}", bits, bits * volume, BITS_OF_LATENTS))
    if plan.data.levels:
        numbers.append(number(headline, unit, math.log2(plan.data.levels / plan.data.range), "bits/dim"))
    task.report.add(*numbers, *references(task, data, used[good]))


def _reason(outcome: int) -> str:
    # A solved ODE can end where the prior's density is none.
    return Outcome(outcome or Outcome.NOT_FINITE).reason


def _note(task: CheckpointTask, bpd: BitsPerDim, flow: FlowLikelihood, used: int, total: int) -> str:
    plan, trace = task.plan, flow.trace
    parts = [f"ODE, {flow.solver} at {flow.rtol:g}", trace.name]
    if trace.probes:
        parts.append(f"{trace.probes} probe{'s' if trace.probes > 1 else ''}")
    draws = (
        f"{bpd.repeats} {'dequantisation' if plan.data.levels else 'draw'}{'s' if bpd.repeats > 1 else ''}"
    )
    kind = f"{'variational' if bpd.dequantisation else 'uniform'} " if plan.data.levels else ""
    parts.append(f"{kind}{draws} a sample{', importance-weighted' if flow.importance_weighted else ''}")
    t_min = plan.samples.model.process.t_min if flow.t_min is None else flow.t_min
    parts.append(
        f"density of states at t={t_min:g}, score_sde's convention"
        if flow.truncation == "state"
        else f"lower bound through noise at t={t_min:g}"
    )
    if bpd.quick:
        parts.append(f"{used} of {total} images, in random order, to a standard error of {bpd.target:g}")
    if plan.data.latents is not None:
        parts.append(said_of_latents(plan.data.latents))
    elif not plan.data.levels:
        parts.append("continuous data: nats only")
    if plan.samples.guidance.likelihood_of:
        parts.append(plan.samples.guidance.likelihood_of)
    return "; ".join(parts)
