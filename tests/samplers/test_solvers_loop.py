"""Solvers in the loop: budgets, memory, streams, and what they refuse."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import Corrector, MultistepPredictor, PCSampler, Predictor, register_predictor
from samplers.base import Memory
from samplers.correctors.langevin import Langevin
from samplers.correctors.none import NoneCorrector
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.adaptive_sde import AdaptiveSDE
from samplers.predictors.ddim import DDIM
from samplers.predictors.deis import DEIS, LinearMultistep
from samplers.predictors.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep, SDEDPMSolverMultistep
from samplers.predictors.heun import Heun
from samplers.predictors.restart import Restart
from samplers.predictors.sa_solver import SASolver
from samplers.predictors.seeds import SEEDS
from samplers.predictors.unipc import UniPC
from sde_lib import Noise, Process
from sde_lib.grids import LogSNR, Uniform
from tests.oracles import CASES

PER_STEP: dict[Predictor, int] = {
    ExponentialAdams(): 1,
    ExponentialAdams(corrected=True): 1,
    DEIS(): 1,
    LinearMultistep(): 1,
    DPMSolverMultistep(3): 1,
    SDEDPMSolverMultistep(): 1,
    UniPC(3): 1,
    SASolver(): 1,
    DPMSolverSinglestep(2): 2,
    DPMSolverSinglestep(3): 3,
    Heun(churn=0.1): 2,
    SEEDS(stages=2): 2,
    SEEDS(stages=3): 3,
}
MULTISTEP = [p for p in PER_STEP if isinstance(p, MultistepPredictor)]


def exact(process: Process) -> NoiseModel:
    return NoiseModel(GaussianScore(process=process, mean=0.3, std=0.5), process, Time(process), "score")


def sampler(
    name: str, predictor: Predictor, steps: int = 12, corrector: Corrector | None = None
) -> PCSampler:
    process = CASES[name].process
    grid = Uniform() if name in ("ddpm", "smld") else LogSNR()
    return PCSampler(exact(process), predictor, corrector or NoneCorrector(), grid.times(process, steps))


@pytest.mark.parametrize("predictor", PER_STEP, ids=str)
@pytest.mark.parametrize("steps", [2, 5, 10])
def test_budget_is_kept(predictor: Predictor, steps: int) -> None:
    """Counted by a hook: N times are N - 1 steps and the closing evaluation."""
    run, calls = sampler("vp", predictor, steps), []
    run.model.network.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[operator, union-attr]
    assert run.sample((2, 3), Noise(0, range(2))).nfe == len(calls) == (steps - 1) * PER_STEP[predictor] + 1
    assert predictor.evaluations == PER_STEP[predictor]


@pytest.mark.parametrize(
    "name", [name for name in register_predictor if not register_predictor[name].encodes]
)
def test_declared_evaluations_are_those_that_are_counted(name: str) -> None:
    """Of every registered predictor by its defaults; of those that say that they do not know, it is another number."""
    predictor = register_predictor[name]()
    counted = sampler("vp", predictor, 10).sample((2, 3), Noise(0, range(2))).nfe
    declared = predictor.evaluations
    assert (counted == 9 * declared + 1) if declared is not None else (counted > 9 * 2 + 1)


def test_budget_of_restart() -> None:
    """Heun's, and two evaluations for each of its inner steps."""
    predictor = Restart(restart_low=0.1, restart_high=0.5, repeats=3, inner=4)
    assert sampler("vp", predictor, 10).sample((2, 3), Noise(0, range(2))).nfe == 9 * 2 + 3 * 4 * 2 + 1


@pytest.mark.parametrize("predictor", [*PER_STEP, Restart(), AdaptiveSDE()], ids=str)
@pytest.mark.parametrize("name", ["vp", "smld"])
def test_a_sample_is_the_same_alone_and_in_any_batch(name: str, predictor: Predictor) -> None:
    """Adaptive steps, too: each sample has its own, and draws that do not count its batch-mates'."""
    if not isinstance(CASES[name].process, predictor.needs):
        pytest.skip("needs an SDE")
    run = sampler(name, predictor)
    together = run.sample((3, 2, 3), Noise(1, [4, 5, 6], dtype=torch.float64)).x
    alone = run.sample((1, 2, 3), Noise(1, [6], dtype=torch.float64)).x
    assert torch.allclose(together[2], alone[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("predictor", [*PER_STEP, Restart()], ids=str)
@pytest.mark.parametrize("name", ["vp", "ddpm"])
def test_a_step_never_asks_the_device(name: str, predictor: Predictor) -> None:
    """On the meta device there are no values to read and no tables left on the CPU."""
    process = copy.deepcopy(CASES[name].process)
    model = exact(process)
    times = (Uniform() if name == "ddpm" else LogSNR()).times(process, 6)
    predictors = predictor.plan(process, times)
    model = model.to("meta")
    x = torch.zeros(2, 3, device="meta")
    noise = Noise(0, torch.arange(2, device="meta"), device="meta")
    memory = Memory()
    with torch.no_grad():
        for step, (t, s) in zip(
            predictors, itertools.pairwise(times.to("meta")[:, None].expand(-1, 2)), strict=True
        ):
            advance = step.advance(model, x, t, s, noise, memory)
            x, memory = advance.step.x, advance.memory
    assert x.is_meta


@pytest.mark.parametrize("predictor", MULTISTEP, ids=str)
def test_a_corrector_that_moves_the_state_clears_the_memory(predictor: Predictor) -> None:
    """Then every step is a first step: the run equals that of the same predictor called without memory."""
    run = sampler("vp", predictor, corrector=Langevin())

    @dataclasses.dataclass(frozen=True)
    class Forgetful(Predictor):
        def update_fn(self, *arguments: Any) -> Any:
            return predictor.update_fn(*arguments)

    other = dataclasses.replace(run, predictor=Forgetful())
    x = [r.sample((2, 5), Noise(0, range(2), dtype=torch.float64)).x for r in (run, other)]
    assert torch.equal(x[0], x[1])
    kept = sampler("vp", predictor).sample((2, 5), Noise(0, range(2), dtype=torch.float64)).x
    forgotten = dataclasses.replace(other, corrector=NoneCorrector())
    assert (kept - forgotten.sample((2, 5), Noise(0, range(2), dtype=torch.float64)).x).abs().max() > 1e-4


def test_two_runs_of_one_sampler_share_no_memory() -> None:
    run = sampler("vp", ExponentialAdams(order=4))
    first = run.sample((2, 5), Noise(0, range(2))).x
    assert torch.equal(first, run.sample((2, 5), Noise(0, range(2))).x)


@pytest.mark.parametrize(
    "predictor", [ExponentialAdams(order=1, form="x0"), DEIS(1), DPMSolverMultistep(1)], ids=str
)
def test_order_one_is_ddim(predictor: Predictor) -> None:
    x = [
        sampler("vp", p).sample((2, 5), Noise(0, range(2), dtype=torch.float64)).x
        for p in (predictor, DDIM())
    ]
    assert torch.allclose(x[0], x[1], rtol=0, atol=1e-12)


def test_sde_dpm_solver_of_one_value_is_ancestral_sampling() -> None:
    """q(x_s | x_t, x_0) has the same mean and variance, written in another way."""
    x = [
        sampler("ve", p).sample((2, 5), Noise(0, range(2), dtype=torch.float64)).x
        for p in (SDEDPMSolverMultistep(1), register_predictor["ancestral_sampling"]())
    ]
    assert torch.allclose(x[0], x[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("predictor", [*PER_STEP, Restart()], ids=str)
def test_adjacent_levels_of_a_chain_are_no_zero_division(predictor: Predictor) -> None:
    """Stages between two neighbours round to one of them; the last ten steps are of a single level."""
    process = CASES["ddpm"].process
    times = torch.cat([torch.arange(999, 100, -15), torch.arange(99, 10, -3), torch.arange(9, -1, -1)])
    run = PCSampler(exact(process), predictor, NoneCorrector(), times)
    x = run.sample((4, 256), Noise(0, range(4), dtype=torch.float64)).x
    # 1024 values of N(0.3, 0.5^2): five standard errors of the mean and of the deviation.
    assert x.mean().item() == pytest.approx(0.3, abs=5 * 0.5 / 32)
    assert x.std().item() == pytest.approx(0.5, abs=5 * 0.5 / 45)


@pytest.mark.slow
def test_adaptive_sde_reaches_the_law_and_refines_with_its_tolerance() -> None:
    """4096 values of N(0.3, 0.5^2): four standard errors; a tenth of the tolerance takes more evaluations."""
    process = CASES["vp"].process
    times = torch.tensor([process.start, process.t_end], dtype=torch.float64)
    nfe = []
    for relative, absolute in ((0.05, 0.0078), (0.005, 0.00078)):
        run = PCSampler(
            exact(process), AdaptiveSDE(relative=relative, absolute=absolute), NoneCorrector(), times
        )
        result = run.sample((16, 256), Noise(3, range(16), dtype=torch.float64))
        nfe.append(result.nfe)
        assert result.x.mean().item() == pytest.approx(0.3, abs=4 * 0.5 / 64)
        assert result.x.std().item() == pytest.approx(0.5, abs=4 * 0.5 / 90)
    assert nfe[1] > 1.5 * nfe[0]


def test_adaptive_sde_does_not_favour_noise_that_makes_small_errors() -> None:
    """2048 values of standard deviation 0.5: five standard errors. A refused step's noise drawn afresh gives 0.61."""
    process = CASES["vp"].process
    times = torch.tensor([process.start, process.t_end], dtype=torch.float64)
    run = PCSampler(exact(process), AdaptiveSDE(relative=0.1, absolute=0.04), NoneCorrector(), times)
    x = run.sample((1024, 2), Noise(3, range(1024), dtype=torch.float64)).x
    assert x.std().item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(2 * 2048))


def test_adaptive_sde_forgives_rounding() -> None:
    """A start that is 1e-13 away ends no farther away than steps on the same times carry it: 1e-10."""
    process = CASES["vp"].process
    times = torch.tensor([process.start, process.t_end], dtype=torch.float64)
    run = PCSampler(exact(process), AdaptiveSDE(relative=0.1, absolute=0.04), NoneCorrector(), times)
    x = Noise(4, range(64), dtype=torch.float64).normal((64, 2))
    near, far = (
        list(run.iterate(x + d, Noise(3, range(64), dtype=torch.float64)))[-1].x for d in (0.0, 1e-13)
    )
    assert torch.allclose(near, far, rtol=0, atol=1e-10)


def test_adaptive_sde_gives_up_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"did not arrive in 3 steps; loosen relative"):
        sampler("vp", AdaptiveSDE(most_steps=3), 2).sample((2, 3), Noise(0, range(2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExponentialAdams(order=5), "orders 1 to 4, got 5"),
        (lambda: ExponentialAdams(form="score"), "one of x0, eps, v; got 'score'"),  # type: ignore[arg-type]
        (lambda: DEIS(variable="t"), "'log' or 'ratio'"),  # type: ignore[arg-type]
        (lambda: UniPC(bh="bh3"), "'bh1' or 'bh2'"),  # type: ignore[arg-type]
        (lambda: UniPC(form="v"), "'x0' or 'eps'"),  # type: ignore[arg-type]
        (lambda: SASolver(tau=-1), "0 or more, got -1"),
        (lambda: SASolver(tau_low=2.0, tau_high=1.0), "0 <= tau_low < tau_high; got 2.0 and 1.0"),
        (lambda: SEEDS(form="v"), "'x0' or 'eps', got 'v'"),  # type: ignore[arg-type]
        (lambda: Heun(churn_noise=0.0), "standard deviation above 0, got 0"),
        (lambda: Heun(churn=0.5), r"\[0, sqrt\(2\) - 1\], got 0.5"),
        (lambda: Restart(restart_low=0.3, restart_high=0.1), "0 < low < high"),
        (lambda: Restart(repeats=0), "at least 1"),
        (lambda: AdaptiveSDE(relative=0), "must be positive"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_restart_needs_a_grid_that_passes_its_levels() -> None:
    with pytest.raises(ValueError, match="needs a grid that passes both"):
        sampler("vp", Restart(restart_low=1e-3, restart_high=0.1)).sample((2, 3), Noise(0, range(2)))
