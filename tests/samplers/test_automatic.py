"""The rule from a number of evaluations to a sampler."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.exact.mixtures import GaussianMixtureScore, GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import (
    DPMSolverMultistep,
    EulerMaruyama,
    ExponentialAdams,
    Langevin,
    NoneCorrector,
    PCSampler,
    Predictor,
    Replacement,
    UniPC,
)
from samplers.automatic import RULE, Chosen, choose
from samplers.operators import Mask
from sde_lib import DiscreteDiffusion, LogSNR, Noise, Process, Uniform
from sde_lib.grids import Blend, Grid, Karras
from tests.oracles import CASES
from tests.samplers.test_sampler_of import Wiener, exact

PAGE = (Path(__file__).parents[2] / "docs/auto_sampler.md").read_text()
BUDGETS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100, 250, 1000)


def listed() -> list[str]:
    """The rows of the page's table, as the rule has them."""
    rows, least = [], 1
    for row in RULE:
        p, g = row.predictor, row.grid
        steps = f"{least} and more" if row.most is None else f"{least} to {row.most}"
        shape = "inf" if math.isinf(p.shape) else f"{p.shape:g}"
        rows.append(
            f"| {steps} | {p.order} | {'yes' if p.corrected else 'no'} | {p.data_std:g} | {shape} "
            f"| {g.share:g} | {g.level:g} | {g.width:g} |"
        )
        assert p == ExponentialAdams(p.order, "v", p.corrected, p.data_std, p.shape, keeps_data=p.corrected)
        least = 0 if row.most is None else row.most + 1
    return rows


def test_the_page_has_the_rule() -> None:
    assert [line for line in PAGE.splitlines() if re.match(r"\| \d+ (to|and) ", line)] == listed()


@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "edm", "ddpm", "smld"])
@pytest.mark.parametrize("steps", BUDGETS)
def test_every_number_of_steps_has_a_sampler(name: str, steps: int) -> None:
    """A row for each number, whatever the process, whose times it has; a chain of N levels up to N."""
    process = CASES[name].process
    if steps <= (process.num_levels or steps):
        sampler = PCSampler.of(exact(process), num_steps=steps)
        row = next(row for row in RULE if row.most is None or steps <= row.most)
        assert sampler.predictor == row.predictor
        assert sampler.corrector == NoneCorrector()
        assert torch.equal(sampler.times, row.grid.times(process, steps))  # type: ignore[arg-type]
        assert len(sampler.times) == steps


def test_a_grid_of_ones_own_is_kept() -> None:
    sampler = PCSampler.of(exact(), num_steps=10, grid=Uniform())
    assert torch.equal(sampler.times, Uniform().times(CASES["vp"].process, 10))
    assert sampler.predictor == choose(CASES["vp"].process, 10).predictor


def test_a_process_without_a_marginal_is_stepped_by_euler_maruyama() -> None:
    chosen = choose(Wiener(), 10)
    assert (chosen.predictor, chosen.grid) == (EulerMaruyama(), Uniform())
    assert str(chosen).startswith("euler_maruyama on uniform, no Gaussian marginal is known")


def test_a_chain_that_begins_without_signal_is_stepped_from_the_level_below() -> None:
    """beta = 1 on the last level: log(sigma/alpha) is infinite there, and Adams' nodes with it."""
    betas = torch.cat([torch.full((99,), 0.05, dtype=torch.float64), torch.ones(1, dtype=torch.float64)])
    chain = DiscreteDiffusion.ddpm(betas)
    assert choose(chain, 8) == choose(CASES["vp"].process, 8)
    sampler = PCSampler.of(exact(chain), num_steps=8)
    assert sampler.start == 98
    assert torch.isfinite(sampler.sample((2, 1), seed=0).x).all()


def test_it_says_what_it_chose() -> None:
    """Settings at their defaults are left out."""
    said = str(Chosen(ExponentialAdams(4, corrected=True), Blend(0.4, 1.0, 1.4), "for a reason"))
    assert said == "adams(order=4, corrected=True) on blend(share=0.4, width=1.4), for a reason"
    assert str(choose(CASES["vp"].process, 100)).endswith("the rule for 100 evaluations")


def test_correctors_and_constraints_need_a_predictor_by_name() -> None:
    with pytest.raises(ValueError, match=r"name one, such as AncestralSampling\(\)"):
        PCSampler.of(exact(), corrector=Langevin(), num_steps=5)
    known = Replacement(Mask(torch.ones(1, 1, dtype=torch.bool)), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="constraints clear"):
        PCSampler.of(exact(), num_steps=5, constraints=[known])


SCALES = 3 / torch.arange(1, 17, dtype=torch.float64)
NARROW: dict[str, Any] = {"means": [[-0.6], [0.4]], "stds": [0.06, 0.1], "weights": [0.5, 0.5]}
SPREAD: dict[str, Any] = {
    "means": (SCALES * Noise(5, range(12), dtype=torch.float64).normal((12, 16))).tolist(),
    "stds": [0.1] * 12, "weights": [1 / 12] * 12,
}  # fmt: skip
"""Modes whose distances span a decade, as images' do."""
LINE = torch.linspace(-2, 2, 65, dtype=torch.float64)[:, None]
DRAWS = Noise(0, range(32), dtype=torch.float64).normal((32, 16))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "ve", "edm"])
@pytest.mark.parametrize(
    ("modes", "unit", "budgets", "others"),
    [
        (NARROW, LINE, (10, 50), [(UniPC(), LogSNR())]),
        (SPREAD, DRAWS, (5, 8, 10, 20, 50), [(UniPC(), LogSNR()), (DPMSolverMultistep(), Karras())]),
    ],
    ids=["narrow", "spread"],
)
def test_it_is_nearer_to_the_flow_than_fixed_choices(
    name: str,
    modes: dict[str, Any],
    unit: Tensor,
    budgets: Sequence[int],
    others: list[tuple[Predictor, Grid]],
) -> None:
    """None of the targets of the rule; the flow itself from 1000 steps of order four."""
    process: Process = CASES[name].process
    model = NoiseModel(GaussianMixtureScore(process=process, **modes), process, Time(process), "score")  # type: ignore[arg-type]
    x = CASES[name].oracle.prior_std * unit

    def end(predictor: Predictor | None, grid: Grid | None, num_steps: int) -> Tensor:
        sampler = PCSampler.of(model, predictor, num_steps=num_steps, grid=grid)
        *_, last = sampler.iterate(x, Noise(0, range(len(x))))
        return last.x

    flow = end(ExponentialAdams(4, "x0"), LogSNR(), 1000)
    for steps in budgets:
        ours, *fixed = (
            float((end(*chosen, steps) - flow).square().mean().sqrt()) for chosen in [(None, None), *others]
        )
        assert ours < min(fixed), steps


@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "edm"])
@pytest.mark.parametrize("data_std", [0.2, 3.0])
@pytest.mark.parametrize("corrected", [False, True])
def test_the_view_of_some_deviation_is_exact_for_gaussian_data_of_it(
    name: str, data_std: float, corrected: bool
) -> None:
    """N(0, d^2): the flow is x_s = x_t r_s / r_t with r^2 = d^2 alpha^2 + sigma^2, however few the steps."""
    process, oracle = CASES[name].process, CASES[name].oracle
    model = NoiseModel(
        GaussianScore(process=process, mean=0.0, std=data_std), process, Time(process), "score"
    )
    sampler = PCSampler.of(
        model, ExponentialAdams(2, "v", corrected, data_std), num_steps=3, grid=LogSNR(), noise_removal=False
    )
    *_, last = sampler.iterate(torch.ones(2, 1, dtype=torch.float64), Noise(0, range(2)))
    first, end = (math.hypot(data_std * oracle.alpha(t), oracle.sigma(t)) for t in (oracle.start, oracle.end))
    assert last.x.flatten().tolist() == pytest.approx([end / first] * 2, rel=1e-10)


def test_a_deviation_is_of_the_view_v_alone() -> None:
    with pytest.raises(ValueError, match="in the form 'v' alone, and this is 'x0'"):
        ExponentialAdams(2, "x0", data_std=0.5)


@pytest.mark.parametrize("name", ["vp", "ve", "edm"])
def test_blend_places_by_its_density(name: str) -> None:
    """The density of the docstring, integrated by the trapezoidal rule between the placed levels: equal parts."""
    process, oracle = CASES[name].process, CASES[name].oracle
    share, level, width = 0.6, 0.3, 1.7
    logs = np.array([
        math.log(oracle.sigma(t) / oracle.alpha(t)) for t in Blend(share, level, width).times(process, 9).tolist()  # type: ignore[arg-type]
    ])  # fmt: skip
    fine = np.linspace(logs[-1], logs[0], 200_001)
    bump = 1 / np.cosh((fine - math.log(level)) / width)
    density = (1 - share) / (logs[0] - logs[-1]) + share * bump / np.trapezoid(bump, fine)
    passed = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(fine))])
    assert np.interp(logs[::-1], fine, passed) == pytest.approx(np.linspace(0, 1, 9), abs=1e-6)


@pytest.mark.parametrize("steps", [2, 20, 300, 999, 1000])
@pytest.mark.parametrize("name", ["ddpm", "smld"])
def test_blend_takes_distinct_levels_of_a_chain(name: str, steps: int) -> None:
    """As many as are asked for, up to all, from the first to the last."""
    process = CASES[name].process
    if steps > (process.num_levels or 0):
        return
    times = Blend(0.5, 0.5, 1.6).times(process, steps)  # type: ignore[arg-type]
    assert (len(times), times[0].item(), times[-1].item()) == (steps, process.start, 0)
    assert times.dtype == torch.int64
    assert (times.diff() < 0).all()


def test_blend_leaves_levels_that_do_not_coincide_where_they_are() -> None:
    chain, grid = CASES["ddpm"].process, Blend(0.5, 0.5, 1.6)
    placed = grid.place(chain, torch.linspace(0, 1, 12, dtype=torch.float64))  # type: ignore[arg-type]
    assert torch.equal(grid.times(chain, 12)[1:-1], placed[1:-1])  # type: ignore[arg-type]


def test_more_steps_than_levels_are_refused_by_blend() -> None:
    with pytest.raises(ValueError, match="1001 steps of the Blend grid do not fall on distinct levels"):
        Blend().times(CASES["ddpm"].process, 1001)  # type: ignore[arg-type]
