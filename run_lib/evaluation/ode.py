"""Likelihoods of data by the probability-flow ODE."""

from __future__ import annotations

import math

import numpy as np
import torch

from likelihood import Divergence, ExactTrace, Hutchinson, HutchPlusPlus, importance_weighted, log_likelihood
from run_lib.config.settings import EvalSettings
from run_lib.evaluation.dequantisation import dequantisation
from run_lib.evaluation.likelihood_errors import spread
from run_lib.evaluation.likelihood_references import references
from run_lib.evaluation.report import Number
from run_lib.evaluation.subset import Draws, precise_enough
from run_lib.evaluation.task import CheckpointTask
from run_lib.seeds import Use, stream_seed
from sde_lib.integrate import Outcome
from sde_lib.noise import Noise


def make_divergence(settings: EvalSettings) -> Divergence:
    """The trace as ``eval.bpd_divergence`` says."""
    if settings.bpd_divergence == "exact":
        return ExactTrace()
    if settings.bpd_divergence == "hutch++":
        return HutchPlusPlus(settings.bpd_rank, settings.bpd_probes)
    return Hutchinson(settings.bpd_divergence, settings.bpd_probes)


def make_draws(task: CheckpointTask) -> Draws:
    """The images and repeats of an evaluation, in a random order where it may stop early."""
    plan, settings = task.plan, task.plan.settings
    images = settings.bpd_num_images or len(plan.data.load(settings.split))
    seed = stream_seed(plan.seed, Use.ORDER) if settings.bpd_quick else None
    return Draws.of(images, settings.bpd_repeats, seed)


def evaluate_ode(task: CheckpointTask) -> None:
    """Likelihood of the chosen split by the probability-flow ODE: bits/dim and nats, or nats alone."""
    plan, settings = task.plan, task.plan.settings
    split, step = settings.split, task.step
    headline = f"bpd/{split}" if plan.data.levels else f"nats/{split}"
    if task.has(headline):
        return
    arrays, draws = plan.data.load(split), make_draws(task)
    divergence = make_divergence(settings)
    dequantise = dequantisation(task) if plan.data.levels else None

    @torch.no_grad()
    def compute(rows: range) -> dict[str, np.ndarray]:
        which = draws.images(rows)
        noise = Noise(stream_seed(plan.seed, Use.LIKELIHOOD), draws.streams(rows), plan.device)
        x, log_q = arrays.images[which].to(plan.device), torch.zeros(len(rows), dtype=torch.float64)
        if dequantise is not None:
            drawn = dequantise(x, noise)
            x, log_q = drawn.x, drawn.log_q.cpu()
        cond = plan.task.conditions(x, arrays.labels[which])
        found = log_likelihood(
            plan.samples.model,
            x,
            noise,
            divergence=divergence,
            rtol=settings.bpd_rtol,
            atol=settings.bpd_atol,
            method=settings.bpd_solver,
            t_min=settings.t_min,
            truncation=settings.bpd_truncation,
            max_steps=settings.bpd_max_steps,
            **cond,  # type: ignore[arg-type]
        )
        return {
            "logp": (found.logp.cpu() - log_q).numpy(),
            "log_q": log_q.numpy(),
            "stderr": found.stderr.cpu().numpy(),
            "nfe": found.nfe.cpu().numpy(),
            "outcome": found.outcome.cpu().numpy(),
            **({"z": found.z.cpu().numpy()} if settings.bpd_latents else {}),
        }

    unit = 1 / (math.prod(plan.data.shape) * math.log(2)) if plan.data.levels else 1.0

    def combined(logp: np.ndarray) -> np.ndarray:
        if settings.bpd_importance_weighted:
            return importance_weighted(torch.from_numpy(logp)).numpy()
        return logp.mean(0)

    def enough(found: dict[str, np.ndarray]) -> bool:
        return precise_enough(unit * combined(draws.by_image(found["logp"])), settings.bpd_target)

    size = draws.batch_size(settings.batch_size)
    found = task.batches(f"bpd_{split}", len(draws), size, compute, enough if settings.bpd_quick else None)
    seconds = float(found.pop("seconds"))
    tables = {name: draws.by_image(values) for name, values in found.items()}
    logp = tables["logp"]
    used = draws.order[: logp.shape[1]]
    good = np.isfinite(logp).all(0)
    if latents := ({"z": tables.pop("z")} if settings.bpd_latents else {}):
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
        noisy=bool(plan.data.levels) or settings.bpd_truncation == "noised",
        importance_weighted=settings.bpd_importance_weighted,
    )
    note, common = _note(task, len(used), len(draws.order)), {"count": int(good.sum()), "seconds": seconds}
    nfe = float(tables["nfe"][:, good].mean())

    def number(name: str, scale: float, offset: float, unit: str) -> Number:
        scaled = errors.scaled(scale)
        return task.number(
            name, offset - scale * errors.value, scaled.together, unit=unit, nfe=nfe, note=note, errors=scaled,
            **common,  # type: ignore[arg-type]
        )  # fmt: skip

    numbers = [number(f"nats/{split}", 1.0, 0.0, "nats")]
    if plan.data.levels:
        numbers.append(number(headline, unit, math.log2(plan.data.levels / plan.data.range), "bits/dim"))
    task.report.add(*numbers, *references(task, arrays, used[good]))


def _reason(outcome: int) -> str:
    # A solved ODE can end where the prior's density is none.
    return Outcome(outcome or Outcome.NOT_FINITE).reason


def _note(task: CheckpointTask, used: int, asked: int) -> str:
    plan, s = task.plan, task.plan.settings
    parts = [f"ODE, {s.bpd_solver} at {s.bpd_rtol:g}", s.bpd_divergence]
    if s.bpd_divergence != "exact":
        parts.append(f"{s.bpd_probes} probe{'s' if s.bpd_probes > 1 else ''}")
    draws = f"{s.bpd_repeats} {'dequantisation' if plan.data.levels else 'draw'}{'s' if s.bpd_repeats > 1 else ''}"
    kind = f"{s.bpd_dequantisation} " if plan.data.levels else ""
    parts.append(f"{kind}{draws} a sample{', importance-weighted' if s.bpd_importance_weighted else ''}")
    t_min = plan.samples.model.process.t_min if s.t_min is None else s.t_min
    parts.append(
        f"density of states at t={t_min:g}, score_sde's convention"
        if s.bpd_truncation == "state"
        else f"lower bound through noise at t={t_min:g}"
    )
    if s.bpd_quick:
        parts.append(f"{used} of {asked} images, in random order, to a standard error of {s.bpd_target:g}")
    if not plan.data.levels:
        parts.append("continuous data: nats only")
    if plan.samples.guidance.likelihood_of:
        parts.append(plan.samples.guidance.likelihood_of)
    return "; ".join(parts)
