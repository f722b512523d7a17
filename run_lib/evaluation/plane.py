"""The density of a model of points in the plane: a picture beside the data's own, and its mass there."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from likelihood import ExactTrace, log_likelihood
from run_lib.data.split import Split
from run_lib.evaluation.task import CheckpointTask
from run_lib.pictures import drawn_figure, save_png
from run_lib.seeds import Use, stream_seed
from samplers.pc import PCSampler
from sde_lib.noise import Noise

NAME = "mass in the picture"
MARGIN, PATHS, TOLERANCE = 0.1, 200, 1e-4
"""Of the range of the data on each side; of the trajectories, how many; of the flow."""


def evaluate_plane(task: CheckpointTask, points: int) -> None:
    """The model's density at the middles of ``points`` x ``points`` cells about the chosen split."""
    plan = task.plan
    if task.has(NAME):
        return
    data = plan.data.load(plan.settings.split)
    low, high = _box(data.images.double())
    grid, area = _middles(low, high, points)

    @torch.no_grad()
    def compute(rows: range) -> dict[str, np.ndarray]:
        x = grid[rows.start : rows.stop].float().to(plan.device)
        noise = Noise(stream_seed(plan.seed, Use.LIKELIHOOD), rows, plan.device)
        found = log_likelihood(
            plan.samples.model, x, noise, divergence=ExactTrace(), rtol=TOLERANCE, atol=TOLERANCE
        )
        return {"logp": found.logp.cpu().numpy(), "nfe": found.nfe.cpu().numpy()}

    found = task.batches("density", len(grid), plan.settings.batch_size, compute)
    good = task.lose_rows(NAME, np.ones(len(grid), dtype=bool), found["logp"])
    if not good.all():
        return
    density = plan.data.density or data.density
    own = None if density is None else density.log_density(grid).exp().numpy()
    if task.processes.is_main:
        model = np.exp(found["logp"]).reshape(points, points)
        shown = _counts(data, low, high, points) if own is None else own.reshape(points, points)
        # Two densities have one scale of colours; numbers of points have their own.
        most = float(model.max() if own is None else max(model.max(), own.max()))
        panels = (
            ("data" if own is None else "data's density", shown, float(shown.max()) if own is None else most),
            ("model's density", model, most),
        )
        path = task.report.path.parent / f"density_{task.step}.png"
        save_png(_picture(panels, low, high, _paths(task)), path)
    note = "" if own is None else f"the data's own: {own.sum() * area:.4f}"
    mass = float(np.exp(found["logp"]).sum() * area)
    task.report.add(
        task.number(
            NAME, mass, None, count=len(grid), unit="", nfe=float(found["nfe"].mean()),
            seconds=float(found["seconds"]), note=note,
        )
    )  # fmt: skip


def _box(x: Tensor) -> tuple[Tensor, Tensor]:
    """The corners of a square about the points, (2,) each."""
    low, high = x.amin(0), x.amax(0)
    middle, half = (low + high) / 2, (0.5 + MARGIN) * (high - low).max()
    return middle - half, middle + half


def _middles(low: Tensor, high: Tensor, points: int) -> tuple[Tensor, float]:
    """The middles of the cells, (points^2, 2), first coordinate first, and the area of a cell."""
    share = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    axes = [low[k] + share * (high[k] - low[k]) for k in range(2)]
    return torch.cartesian_prod(*axes), float(((high - low) / points).prod())


def _counts(data: Split, low: Tensor, high: Tensor, points: int) -> np.ndarray:
    """How many points of the data are in each cell."""
    x = data.images.double().numpy()
    ranges = list(zip(low.tolist(), high.tolist(), strict=True))
    return np.histogram2d(x[:, 0], x[:, 1], bins=points, range=ranges)[0]


@torch.no_grad()
def _paths(task: CheckpointTask) -> np.ndarray | None:
    """The states of some samples on their way, (steps, samples, 2); None: the sampler has no steps."""
    plan, sampler = task.plan.samples, task.plan.samples.sampler
    if not isinstance(sampler, PCSampler):
        return None
    noise = Noise(stream_seed(plan.seed, Use.SAMPLING), range(PATHS), plan.device)
    x = sampler.prior((PATHS, 2), noise)
    with plan.arithmetic.used():
        states = [x, *(step.x for step in sampler.iterate(x, noise))]
    return torch.stack(states).cpu().double().numpy()


def _picture(
    panels: tuple[tuple[str, np.ndarray, float], ...], low: Tensor, high: Tensor, paths: np.ndarray | None
) -> np.ndarray:
    """Densities side by side, each with the value of the brightest colour, and trajectories from noise to data."""
    from matplotlib.figure import Figure

    count = len(panels) + (paths is not None)
    figure = Figure(figsize=(5 * count, 5), dpi=100, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    left, right, bottom, top = float(low[0]), float(high[0]), float(low[1]), float(high[1])
    for axis, (title, values, most) in zip(axes[: len(panels)], panels, strict=True):
        axis.imshow(
            values.T, origin="lower", extent=(left, right, bottom, top), cmap="magma", vmin=0, vmax=most
        )
        axis.set_title(title)
    if paths is not None:
        reach = max(math.ceil(abs(paths[0]).max()), right, top, -left, -bottom)
        axes[-1].plot(paths[:, :, 0], paths[:, :, 1], color="tab:blue", alpha=0.25, linewidth=0.7)
        axes[-1].scatter(*paths[0].T, s=4, color="grey", zorder=2)
        axes[-1].scatter(*paths[-1].T, s=6, color="black", zorder=3)
        axes[-1].set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title="from noise to data")
    return drawn_figure(figure)
