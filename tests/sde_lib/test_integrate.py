"""The batched Runge-Kutta solver: orders, agreement with scipy, independence of samples, failures."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import torch
from torch import Tensor

from sde_lib.integrate import TABLEAUS, Outcome, integrate, integrate_scipy


def spiral(t: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """dy/dt = (cos t) A y with A a rotation's generator: y(t) turns by the angle sin t."""
    return t.cos()[:, None] * torch.stack([-y[:, 1], y[:, 0]], dim=1)


def turned(y0: Tensor, angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([c * y0[:, 0] - s * y0[:, 1], s * y0[:, 0] + c * y0[:, 1]], dim=1)


@pytest.mark.parametrize(
    ("method", "order", "counts"),
    [("bosh3", 3, (40, 60, 90, 135)), ("dopri5", 5, (40, 60, 90, 135)), ("dop853", 8, (8, 12, 18, 27))],
)
def test_fixed_steps_converge_at_the_declared_order(method: str, order: int, counts: tuple[int, ...]) -> None:
    # y' = y cos t has the solution exp(sin t); n equal steps with the pair's weights err by O(n^-order).
    tableau = TABLEAUS[method]
    assert tableau.order == order
    errors = []
    for count in counts:
        y, h = 1.0, 4.0 / count
        for step in range(count):
            k: list[float] = []
            for a, c in zip(tableau.a, tableau.c, strict=True):
                inner = y + h * sum(w * stage for w, stage in zip(a, k, strict=False))
                k.append(inner * math.cos((step + c) * h))
            y += h * sum(w * stage for w, stage in zip(tableau.b, k, strict=True))
        errors.append(abs(y - math.exp(math.sin(4.0))))
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-order, abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "order", "loosest"), [("bosh3", 3, 1e-2), ("dopri5", 5, 1e-5), ("dop853", 8, 1e-5)]
)
def test_error_falls_with_evaluations_at_the_declared_order(method: str, order: int, loosest: float) -> None:
    # error ~ evaluations^-order when the controller and the error estimate do their work; the regression's
    # slope is known to about a unit, as the estimate is of lower order than the solution.
    y0 = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    exact = turned(y0, math.sin(20.0))
    logs = []
    for rtol in loosest * np.logspace(0, -5, 6):
        s = integrate(spiral, y0, 0.0, 20.0, rtol=rtol, atol=rtol, method=method)
        logs.append((math.log(int(s.nfe[0])), math.log(float((s.y - exact).abs().max()))))
    slope = np.polyfit(*np.array(logs).T, 1)[0]
    assert slope == pytest.approx(-order, abs=1.0)


@pytest.mark.parametrize("method", sorted(TABLEAUS))
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
def test_error_stays_near_the_tolerance(method: str, rtol: float) -> None:
    # Errors of some twenty steps add up on a flow that neither damps nor amplifies them.
    y0 = torch.tensor([[1.0, 0.5], [-3.0, 2.0]], dtype=torch.float64)
    s = integrate(spiral, y0, 0.0, 6.0, rtol=rtol, atol=rtol, method=method)
    assert float((s.y - turned(y0, math.sin(6.0))).abs().max()) < 30 * rtol
    assert s.outcome.tolist() == [Outcome.SUCCESS, Outcome.SUCCESS]


@pytest.mark.parametrize(("method", "scipys"), [("bosh3", "RK23"), ("dopri5", "RK45"), ("dop853", "DOP853")])
def test_one_sample_needs_no_more_evaluations_than_scipy(method: str, scipys: str) -> None:
    # Same pair, same error norm; only the controller differs, by a few steps in either direction.
    y0 = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    ours = integrate(spiral, y0, 0.0, 20.0, rtol=1e-6, atol=1e-6, method=method)
    theirs = scipy.integrate.solve_ivp(
        lambda t, y: math.cos(t) * np.array([-y[1], y[0]]),
        (0, 20),
        [1.0, 0.5],
        rtol=1e-6,
        atol=1e-6,
        method=scipys,
    )
    assert int(ours.nfe[0]) < 1.15 * theirs.nfev


def test_the_scipy_route_is_scipy() -> None:
    y0 = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    ours = integrate_scipy(spiral, y0, 0.0, 3.0, rtol=1e-5, atol=1e-5)
    theirs = scipy.integrate.solve_ivp(
        lambda t, y: math.cos(t) * np.array([-y[1], y[0]]), (0, 3), [1.0, 0.5], rtol=1e-5, atol=1e-5
    )
    assert int(ours.nfe[0]) == theirs.nfev
    torch.testing.assert_close(ours.y[0], torch.tensor(theirs.y[:, -1]), rtol=1e-13, atol=0)


@pytest.mark.parametrize("method", sorted(TABLEAUS))
def test_a_sample_is_the_same_alone_and_among_others(method: str) -> None:
    # Frequencies over three decades, so that the batch-mates' steps differ; equal to the last bit.
    rates = torch.tensor([0.1, 1.0, 10.0, 100.0], dtype=torch.float64)

    def oscillate(rate: Tensor, y: Tensor) -> Tensor:
        return rate[:, None] * torch.stack([-y[:, 1], y[:, 0]], dim=1)

    y0 = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(4, 2).contiguous()
    together = integrate(lambda t, y, rows: oscillate(rates[rows], y), y0, 0.0, 1.0, method=method)
    for i in range(4):
        alone = integrate(
            lambda t, y, rows, i=i: oscillate(rates[[i]][rows], y), y0[[i]], 0.0, 1.0, method=method
        )
        assert torch.equal(alone.y[0], together.y[i])
        assert int(alone.nfe[0]) == int(together.nfe[i])
    assert together.nfe[0] < together.nfe[2] < together.nfe[3]


def test_arrived_samples_are_evaluated_no_more() -> None:
    calls = torch.zeros(2, dtype=torch.int64)
    rates = torch.tensor([1.0, 100.0], dtype=torch.float64)

    def decay(t: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        calls[rows] += 1
        return -rates[rows][:, None] * y

    s = integrate(decay, torch.ones(2, 1, dtype=torch.float64), 0.0, 1.0)
    assert s.nfe.tolist() == calls.tolist()
    assert calls[0] < calls[1] / 2


def test_a_batch_shrinks_by_an_eighth_at_a_time() -> None:
    """Each new size costs a network's libraries preparation: there are few, and none is just below another."""
    sizes: list[int] = []
    rates = torch.logspace(0, 2, 40, dtype=torch.float64)

    def decay(t: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return -rates[rows][:, None] * y

    s = integrate(decay, torch.ones(40, 1, dtype=torch.float64), 0.0, 1.0)
    distinct = sorted(set(sizes), reverse=True)
    assert 3 < len(distinct) < 20
    assert all(b <= 7 / 8 * a for a, b in itertools.pairwise(distinct))
    # Those that wait are right all the same, and their evaluations are their own.
    torch.testing.assert_close(s.y[:, 0], torch.exp(-rates), rtol=0, atol=1e-4)
    alone = integrate(
        lambda t, y, rows: -rates[:1, None] * y, torch.ones(1, 1, dtype=torch.float64), 0.0, 1.0
    )
    assert int(s.nfe[0]) == int(alone.nfe[0])


def test_backwards_in_time_returns_to_the_start() -> None:
    y0 = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    there = integrate(spiral, y0, 0.0, 4.0, rtol=1e-9, atol=1e-9)
    back = integrate(spiral, there.y, 4.0, 0.0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(back.y, y0, rtol=0, atol=1e-7)


def test_failures_are_told_per_sample_and_the_others_stand() -> None:
    # Sample 0: exp(-t). 1: NaN data. 2: a field that is infinite from the start. 3: a field that becomes NaN
    # at t = 1/2. 4: y' = y^2 from 2, whose solution leaves every bound at t = 1/2.
    y0 = torch.tensor([[1.0], [math.nan], [1.0], [1.0], [2.0]], dtype=torch.float64)

    def field(t: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        dy = -y
        dy = torch.where(rows[:, None] == 2, torch.full_like(dy, math.inf), dy)
        dy = torch.where((rows[:, None] == 3) & (t[:, None] > 0.5), torch.full_like(dy, math.nan), dy)
        return torch.where(rows[:, None] == 4, y.square(), dy)

    s = integrate(field, y0, 0.0, 1.0, rtol=1e-8, atol=1e-8)
    assert s.outcome[:4].tolist() == [
        Outcome.SUCCESS,
        Outcome.NOT_FINITE,
        Outcome.NOT_FINITE,
        Outcome.NOT_FINITE,
    ]
    assert s.outcome[4] in (Outcome.STEP_TOO_SMALL, Outcome.NOT_FINITE)
    assert float(s.y[0]) == pytest.approx(math.exp(-1), rel=1e-7)
    assert float(s.y[3]) == pytest.approx(math.exp(-0.5), rel=1e-6)  # what it reached before it failed


def test_a_discontinuity_that_no_step_resolves_is_a_step_too_small() -> None:
    # A field of round-off-like noise: no step length brings two estimates together.
    def noisy(t: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        return torch.sin(1e18 * t)[:, None].expand_as(y) * 1e12

    s = integrate(
        noisy, torch.zeros(1, 1, dtype=torch.float64), 0.5, 1.0, rtol=1e-12, atol=1e-12, max_steps=1000
    )
    assert s.outcome.tolist() == [Outcome.STEP_TOO_SMALL]


def test_a_budget_of_steps_that_runs_out_is_told() -> None:
    y0 = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    s = integrate(spiral, y0, 0.0, 1000.0, max_steps=3)
    assert s.outcome.tolist() == [Outcome.TOO_MANY_STEPS]


@pytest.mark.parametrize("wrong", [{"method": "dopri8"}, {"rtol": 0.0}, {"atol": -1e-3}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        integrate(spiral, torch.zeros(1, 2), 0.0, 1.0, **wrong)


def test_a_length_just_refused_does_not_grow_at_once() -> None:
    """The step after a refused one is at most as long as the one that was accepted in its place.

    Stages of dopri5 at t + h/5 and t + 3h/10 give t and h of each attempt; an attempt from the same t again was
    refused. Kinks of the rate, each sharper than the last, are refused, and what follows would grow at once.
    """
    times: list[float] = []

    def bumps(t: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        times.append(float(t[0]))
        return sum((1 / (1e-4 + (t - c) ** 2) for c in (0.3, 0.5, 0.8)), torch.zeros_like(t))[
            :, None
        ].expand_as(y)

    integrate(bumps, torch.zeros(1, 1, dtype=torch.float64), 0.0, 1.0, rtol=1e-4, atol=1e-4, method="dopri5")
    attempts = []
    for place in range(2, len(times) - 5, 6):
        h = 10 * (times[place + 1] - times[place])
        attempts.append((times[place] - h / 5, h))
    refused = [later[0] < earlier[0] + earlier[1] / 2 for earlier, later in itertools.pairwise(attempts)]
    followed = [
        attempts[k + 2][1] / attempts[k + 1][1]
        for k in range(len(refused) - 1)
        if refused[k] and not refused[k + 1]
    ]
    assert len(followed) > 3
    assert max(followed) <= 1 + 1e-9
    assert max(b[1] / a[1] for a, b in itertools.pairwise(attempts)) > 1.5, "others do grow"
