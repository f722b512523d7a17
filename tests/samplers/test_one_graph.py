"""No predictor and no corrector breaks the compiler's graph, and none is traced anew at every step.

But for ``adaptive_sde``, which asks the device whether all samples have arrived, and whose Brownian path is a walk
down a tree: it is compiled in pieces. RePaint has no step of its own: it runs those of its predictor, and the forward
process's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel, Watched
from models.prediction.time_encoding import Time
from samplers import ClassifierFreeGuidance, Corrector, Mask, Predictor, Replacement, register_predictor
from samplers.base import Memory, Step
from samplers.constraints.repaint import Renoise
from samplers.correctors.ald import AnnealedLangevin
from samplers.correctors.langevin import Langevin
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.adaptive_sde import AdaptiveSDE
from samplers.predictors.bespoke import Bespoke
from samplers.predictors.ddim import DDIM
from samplers.predictors.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep
from samplers.predictors.euler_maruyama import EulerMaruyama
from samplers.predictors.heun import Heun
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from samplers.predictors.sa_solver import SASolver
from samplers.predictors.seeds import SEEDS
from samplers.predictors.unipc import UniPC
from sde_lib import Noise
from sde_lib.grids import LogSNR
from tests.graphs import Traced, quick_and_slow
from tests.oracles import CASES
from tests.samplers.guided import NULL, conditional

PROCESS = CASES["vp"].process
BROKEN = ("adaptive_sde",)
OTHERS: dict[str, Predictor] = {
    "adams, corrected": ExponentialAdams(order=5, corrected=True),
    "adams through multiquadrics": ExponentialAdams(order=4, corrected=True, shape=2.0, keeps_data=True),
    "ddim with noise": DDIM(eta=0.5),
    "dpm_solver_multistep of order 3": DPMSolverMultistep(order=3),
    "dpm_solver_singlestep of order 3": DPMSolverSinglestep(order=3),
    "euler_maruyama without noise": EulerMaruyama(probability_flow=True),
    "heun with churn": Heun(churn=0.1),
    "reverse_diffusion without noise": ReverseDiffusion(probability_flow=True),
    "sa_solver of order 4": SASolver(explicit=3, implicit=4, lower_order_final=True),
    "seeds of 3 stages": SEEDS(stages=3),
    "unipc of order 4": UniPC(solver_order=3, bh="bh1"),
    "bespoke with shares": Bespoke(shares=[[1.0], *[[1.5, -0.5]] * 7]),
    "RePaint's way up": Renoise(),
}
PREDICTORS: dict[str, Predictor] = {
    **{name: register_predictor[name]() for name in register_predictor if name not in BROKEN},
    **OTHERS,
}


def exact() -> NoiseModel:
    return NoiseModel(GaussianScore(process=PROCESS, mean=0.3, std=0.5), PROCESS, Time(PROCESS), "score")


@dataclasses.dataclass(frozen=True)
class Ran:
    """Where eight steps have led, their evaluations, what is drawn next, and how many kinds of steps they were."""

    x: Tensor
    nfe: int
    following: Tensor
    kinds: int


def eight_steps(predictor: Predictor, advance: Any) -> Ran:
    """As the loop does them, each in a block that counts anew."""
    model, noise, memory = Watched(exact()), Noise(0, range(2)), Memory()
    times = LogSNR().times(PROCESS, 9)
    if predictor.encodes or isinstance(predictor, Renoise):
        times = times.flip(0)
    steps: Sequence[Predictor] = predictor.plan(PROCESS, times)
    x, kinds = noise.normal((2, 3)), set()
    for one, t, s in zip(steps, times[:-1], times[1:], strict=True):
        kinds.add((str(one), len(memory.past), memory.fresh is None))
        with model.counting_anew():
            found = advance(one, model, x, t.expand(2), s.expand(2), noise, memory)
        x, memory = found.step.x, found.memory
    return Ran(x, model.nfe, noise.bits(1), len(kinds))


@pytest.mark.parametrize("name", quick_and_slow(PREDICTORS, "ddim", "ancestral_sampling", "bespoke"))
@torch.no_grad()
def test_a_predictors_steps_are_one_graph_of_each_kind(name: str) -> None:
    """A kind is a predictor and how much it remembers. Two runs, the second of which traces nothing; the same bits."""
    predictor = PREDICTORS[name]

    def advance(predictor: Predictor, *arguments: Any) -> Any:
        return predictor.advance(*arguments)

    traced = Traced()
    compiled, plain = traced(advance), eight_steps(predictor, advance)
    for _ in range(2):
        found = eight_steps(predictor, compiled)
        assert torch.equal(found.x, plain.x)
        assert torch.equal(found.following, plain.following)
        assert found.nfe == plain.nfe
    assert traced.graphs == (0 if name == "none" else plain.kinds)


CORRECTORS: dict[str, Corrector] = {
    "langevin": Langevin(),
    "langevin of the batch": Langevin(norm="batch"),
    "ald": AnnealedLangevin(),
}


@pytest.mark.parametrize("name", quick_and_slow(CORRECTORS, "langevin"))
@torch.no_grad()
def test_a_correctors_steps_are_one_graph(name: str) -> None:
    def steps(update_fn: Any) -> tuple[Tensor, int]:
        model, noise = exact(), Noise(0, range(2))
        x = noise.normal((2, 3))
        for t in LogSNR().times(PROCESS, 8):
            with model.counting_anew():
                x = update_fn(model, x, t.expand(2), noise).x
        return x, model.nfe

    traced = Traced()
    plain, found = (steps(how(CORRECTORS[name].update_fn)) for how in (lambda f: f, traced))
    assert torch.equal(found[0], plain[0])
    assert (traced.graphs, found[1]) == (1, plain[1])


@torch.no_grad()
def test_a_replacement_is_one_graph() -> None:
    known = Replacement(Mask(torch.tensor([1.0, 0.0, 1.0])), torch.tensor([[0.3, 0.0, -0.2]] * 2))

    def steps(project: Any) -> Tensor:
        noise = Noise(0, range(2))
        x = noise.normal((2, 3))
        for t in LogSNR().times(PROCESS, 8):
            x = project(Step(x, x), PROCESS, t.expand(2), noise).x
        return x

    traced = Traced()
    assert torch.equal(steps(traced(known.project)), steps(known.project))
    assert traced.graphs == 1


@torch.no_grad()
def test_a_guided_pair_is_one_graph_and_two_evaluations() -> None:
    x, y = Noise(0, range(2), dtype=torch.float64).normal((2, 2)), torch.tensor([2, 0])
    model = ClassifierFreeGuidance(conditional(PROCESS), NULL, scale=2.0)
    traced = Traced()
    compiled = traced(model)
    for t in LogSNR().times(PROCESS, 8)[:, None].expand(-1, 2):
        with model.counting_anew():
            found = compiled(x, t, y=y)
        before = model.nfe
        assert torch.equal(found.x0, model(x, t, y=y).x0)
        assert model.nfe == before + 2
    assert (traced.graphs, model.nfe) == (1, 8 * 4)


@pytest.mark.slow
def test_adaptive_steps_are_compiled_in_pieces() -> None:
    """Whether all have arrived is asked of the device; the same numbers.

    Two steps of the solver: each is a piece, and pieces take seconds to compile.
    """
    predictor, model = AdaptiveSDE(relative=0.2, absolute=0.1), exact()
    t, s = (torch.full((2,), time, dtype=torch.float64) for time in (1.0, 0.99))
    x = Noise(5, range(2), dtype=torch.float64).normal((2, 3))

    def step(x: Tensor) -> Tensor:
        return predictor.update_fn(model, x, t, s, Noise(6, range(2), dtype=torch.float64)).x

    with torch.no_grad(), pytest.raises(torch._dynamo.exc.TorchDynamoException):
        Traced()(step)(x)
    torch._dynamo.reset()
    with torch.no_grad():
        assert torch.allclose(torch.compile(step, backend="eager")(x), step(x), rtol=1e-10, atol=1e-10)
