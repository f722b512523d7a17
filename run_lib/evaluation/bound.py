"""Likelihoods of data by the variational bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

import likelihood.vlb
from likelihood import variational_bound
from run_lib.evaluation.dequantisation import dequantisation
from run_lib.evaluation.followed import counted
from run_lib.evaluation.likelihood_errors import spread
from run_lib.evaluation.likelihoods import LevelBound
from run_lib.evaluation.ode import BITS_OF_LATENTS, make_draws, measured_split, said_of_latents
from run_lib.evaluation.report import Number
from run_lib.evaluation.subset import precise_enough
from run_lib.evaluation.task import CheckpointTask
from run_lib.seeds import Use, stream_seed
from run_lib.sharing.parts import Finds
from sde_lib.integrate import Outcome
from sde_lib.noise import Noise
from sde_lib.respacing import kept_levels

if TYPE_CHECKING:
    from run_lib.evaluation.builtin import BitsPerDim


def evaluate_vlb(task: CheckpointTask, bpd: BitsPerDim, bound: LevelBound) -> None:
    """The variational bound of the chosen split: total, prior, steps and reconstruction, image by image.

    ``vlb_<split>_<step>.npz`` holds them in nats, with the cost of each step and the errors at each time. With
    ``eval.bpd_bound_of=density`` it bounds the density of dequantised data, at the very points of the ODE's.
    """
    plan, settings = task.plan, task.plan.settings
    split, step = settings.split, task.step
    density = bound.bound_of == "density" and plan.data.levels > 0
    headline = f"{'vlb' if plan.data.levels else 'vlb nats'}{' of density' if density else ''}"
    headline += f"/{measured_split(plan.data, split)}"
    if task.has(headline):
        return
    bounded = plan.bounded
    chain = bounded.process
    assert isinstance(chain, likelihood.vlb.NEEDS), "the check before any work refuses others"
    times = None
    if bound.respacing is not None:
        times = torch.tensor(kept_levels(chain.num_levels, bound.respacing)[::-1])
    data, draws = plan.data.load(split), make_draws(task, bpd)
    dequantise = dequantisation(task, bpd.dequantisation) if density else None

    @torch.no_grad()
    def compute(rows: range) -> dict[str, np.ndarray]:
        which = draws.images(rows)
        noise = Noise(stream_seed(plan.seed, Use.LIKELIHOOD), draws.streams(rows), plan.device)
        some = data.read(which)
        levels, log_q = some.images.to(plan.device), torch.zeros(len(rows), dtype=torch.float64)
        if dequantise is None:
            x0 = plan.data.at_levels(levels)
        else:
            drawn = dequantise(levels, noise)
            x0, log_q = drawn.x, drawn.log_q
        with counted(bounded, chain.num_levels if times is None else len(times)):
            found = variational_bound(
                bounded, x0, noise, bins=None if density else plan.data.bins, variance=bound.variance,
                times=times, **plan.task.network_conditions(x0, some.labels),
            )  # fmt: skip
        parts = {"total": found.total + log_q.to(found.total), "prior": found.prior, "steps": found.steps,
                 "reconstruction": found.reconstruction, "x0_mse": found.x0_mse, "eps_mse": found.eps_mse}  # fmt: skip
        return {name: part.cpu().numpy() for name, part in parts.items()}

    scale = 1 / (math.prod(plan.data.shape) * math.log(2)) if plan.data.levels else 1.0
    latents, unit = plan.data.latents, "bits/dim" if plan.data.levels else "nats"
    offset = math.log2(plan.data.levels / plan.data.range) if density else 0.0
    if latents is not None:
        offset = latents.log_volume  # that of the codec's own latents, however scaled

    def enough(found: dict[str, np.ndarray]) -> bool:
        return precise_enough(scale * draws.by_image(found["total"]).mean(0), bpd.target)

    size = draws.batch_size(settings.batch_size)
    name = f"vlb_{'density_' if density else ''}{split}"
    found = task.batches(
        name,
        len(draws),
        size,
        compute,
        enough if bpd.quick else None,
        Finds("nats", lambda part: part["total"]),
    )
    seconds = float(found.pop("seconds"))
    tables = {key: draws.by_image(values) for key, values in found.items()}
    used, good = draws.order[: tables["total"].shape[1]], np.isfinite(tables["total"]).all(0)
    t = torch.arange(chain.num_levels).flip(0) if times is None else times
    task.save(f"{name}_{step}.npz", t=t.numpy(), index=used, **tables)
    if not good.all():
        reason = Outcome.NOT_FINITE.reason
        task.lose(headline, {int(i): reason for i in np.sort(used[np.flatnonzero(~good)])})
    if not good.any():
        return
    nfe = tables["eps_mse"].shape[2]

    def number(
        name: str, nats: np.ndarray, note: str, offset: float = 0.0, scale: float = scale, unit: str = unit
    ) -> Number:
        kept = nats[:, good]
        errors = spread(scale * kept, np.full_like(kept, np.nan), noisy=True)
        return task.number(name, offset + errors.value, errors.together, count=int(good.sum()), nfe=nfe,
                           unit=unit, seconds=seconds, note=note, errors=errors)  # fmt: skip

    note = f"upper bound, {nfe} steps, variance {bound.variance}"
    note += "; of the density of dequantised data" if density else ""
    note += f"; {len(used)} of {len(draws.order)} images, in random order" if bpd.quick else ""
    note += f"; {plan.samples.guidance.bound_of}" if plan.samples.guidance.bound_of else ""
    note += "" if latents is None else f"; {said_of_latents(latents)}"
    task.report.add(
        number(headline, tables["total"], note, offset),
        number(f"{headline}, prior", tables["prior"], "its part: the noisiest level against the prior"),
        number(f"{headline}, steps", tables["steps"].sum(2), "its part: the steps between levels"),
        number(
            f"{headline}, reconstruction",
            tables["reconstruction"],
            "its part: the data given the cleanest level",
            offset,
        ),
    )
    if latents is not None:
        bits, name = 1 / (math.prod(plan.data.shape) * math.log(2)), measured_split(plan.data, split)
        task.report.add(number(f"vlb/{name}", tables["total"], note, bits * offset, bits, BITS_OF_LATENTS))
