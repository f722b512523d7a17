"""What depends on the times of a run alone is computed once, and is what it would be at each step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import PCSampler, Predictor, Step, register_predictor
from samplers.base import Memory
from samplers.correctors.none import NoneCorrector
from samplers.predictors.ddim import DDIM
from samplers.predictors.unipc import UniPC
from sde_lib import VPSDE, DiscreteDiffusion, GaussianProcess, GaussianSDE, Marginal, Noise, linear_betas
from sde_lib.base import coefficients, expand
from sde_lib.needs import serves
from sde_lib.timetable import doubled, grid_times, tabulated, tabulated_time

TIMES = torch.linspace(1, 0.1, 7, dtype=torch.float64)


@dataclass(frozen=True)
class Two:
    """A value with every kind of part."""

    sums: tuple[Tensor, ...]
    later: Tensor
    nothing: Tensor | None


class Counted:
    """A function of times that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, factor: float, t: Tensor, s: Tensor) -> Two:
        self.calls += 1
        return Two((factor * t + s, t - s), t > 0.5, None)


def middle(t: Tensor, s: Tensor) -> Tensor:
    return (t + s) / 2


def test_a_function_is_called_once_for_all_steps_and_each_reads_its_row() -> None:
    f, direct = Counted(), Counted()
    run = grid_times(TIMES, 3)
    for k, (t, s) in enumerate(itertools.pairwise(run)):
        found, wanted = tabulated(f, 2.0, t, s), direct(2.0, TIMES[k].expand(3), TIMES[k + 1].expand(3))
        assert all(torch.equal(a, b) for a, b in zip(found.sums, wanted.sums, strict=True))
        assert torch.equal(found.later, wanted.later)
        assert found.later.dtype == torch.bool
        assert found.nothing is None
    assert f.calls == 1


def test_times_that_are_no_neighbours_of_a_run_are_given_to_the_function() -> None:
    f, run, other = Counted(), grid_times(TIMES, 3), grid_times(TIMES, 3)
    pairs = [
        (run[0], run[2]),  # a leap
        (run[1], run[0]),  # back
        (run[0], other[1]),  # another run
        (run[0], TIMES[1].expand(3)),  # a time of one's own
        (TIMES[0].expand(3), run[1]),
    ]
    for number, (t, s) in enumerate(pairs, start=1):
        assert torch.equal(tabulated(f, 1.0, t, s).sums[1], t.as_subclass(Tensor) - s)
        assert f.calls == number


def test_other_arguments_have_tables_of_their_own() -> None:
    t, s = grid_times(TIMES, 1)[:2]
    # Lists, told apart by identity: each may take the address of one that is gone unless the run holds it.
    found = [float(tabulated(lambda kept, t, s: t * kept[0], [number], t, s)) for number in range(50)]
    assert found == list(range(50))
    f = Counted()
    assert [float(tabulated(f, factor, t, s).sums[0]) for factor in (1.0, 2.0, 1.0)] == [1.85, 2.85, 1.85]
    assert f.calls == 2


def test_what_is_computed_from_a_time_is_a_plain_tensor() -> None:
    t, s = grid_times(TIMES, 2)[:2]
    assert {type(v) for v in (t - s, t.to(torch.float32), torch.where(t > s, t, s), torch.zeros_like(t))} == {
        Tensor
    }


def test_coefficients_are_ready_to_multiply_the_state() -> None:
    process, x, run = VPSDE(), torch.ones(2, 3, 4), grid_times(TIMES, 2)
    level, wanted = coefficients(x, process.marginal, run[2]), process.marginal(TIMES[2].expand(2))
    assert level.alpha.shape == (2, 1, 1)
    assert torch.equal(level.alpha, expand(wanted.alpha, x))
    # The same function for a state of another precision and rank.
    assert coefficients(x[:, 0].double(), process.marginal, run[2]).sigma.dtype == torch.float64


def test_a_computed_time_has_tables_of_its_own() -> None:
    f, run = Counted(), grid_times(TIMES, 2)
    halves = [tabulated_time(middle, t, s) for t, s in itertools.pairwise(run)]
    for a, b in itertools.pairwise(halves):
        assert torch.equal(tabulated(f, 1.0, a, b).sums[1], a.as_subclass(Tensor) - b)
    assert f.calls == 1
    plain = tabulated_time(middle, TIMES[0], TIMES[1])
    assert float(plain) == float(halves[0][0])


def test_doubled_times_are_those_of_two_batches() -> None:
    t = grid_times(TIMES, 3)[4]
    both = doubled(t)
    assert torch.equal(both, TIMES[4].expand(6))
    assert tabulated(VPSDE().marginal, both).alpha.shape == (6,)
    assert torch.equal(doubled(TIMES[:3]), torch.cat([TIMES[:3], TIMES[:3]]))


class OwnSDE(GaussianSDE):
    """A process of one's own, which counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def marginal(self, t: Tensor) -> Marginal:
        self.asked += 1
        return Marginal(torch.cos(1.5 * t), torch.sin(1.5 * t))


class OwnPredictor(Predictor[GaussianProcess]):
    """A predictor of one's own, which asks the process at every step."""

    def update_fn(self, model: Any, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        then, prediction = model.process.marginal(s), model(x, t)
        x = expand(then.alpha, x) * prediction.x0 + expand(then.sigma, x) * prediction.eps
        return Step(x, x)


def run_of(predictor: Predictor, process: GaussianProcess, steps: int) -> Tensor:
    model = NoiseModel(GaussianScore(process=process), process, Time(process), "score")
    sampler = PCSampler(model, predictor, NoneCorrector(), process.time(torch.linspace(1, 0.1, steps)))
    return sampler.sample((2, 3), Noise(1, range(2), dtype=torch.float64)).x


def test_components_of_ones_own_ask_a_process_once_for_a_run() -> None:
    few, many = OwnSDE(), OwnSDE()
    short, long = run_of(OwnPredictor(), few, 4), run_of(OwnPredictor(), many, 40)
    # The exact score asks for itself, at its labels, which are times of the run as well.
    assert many.asked == few.asked
    assert torch.allclose(short, run_of(DDIM(), OwnSDE(), 4), rtol=1e-12)
    assert torch.allclose(long, run_of(DDIM(), OwnSDE(), 40), rtol=1e-12)


class Scaled(torch.nn.Module):
    """A network."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return x * labels[:, None] / 999


NAMES = [name for name in sorted(register_predictor) if name != "adaptive_sde"]


@pytest.mark.parametrize(
    "process", [VPSDE(), DiscreteDiffusion.ddpm(linear_betas(1000))], ids=["VP", "chain"]
)
def test_a_run_is_what_steps_at_times_of_ones_own_are(process: GaussianProcess) -> None:
    # Tables against the functions themselves, through every predictor; sums of quadratures round otherwise.
    model = NoiseModel(GaussianScore(process=process, std=0.5), process, Time(process), "score")
    for name in NAMES:
        predictor = register_predictor[name]()
        if not serves(process, predictor):
            continue
        sampler = PCSampler.of(model, predictor, num_steps=6, noise_removal=False)
        start = Noise(3, range(2), dtype=torch.float64).normal((2, 3))
        *_, last = sampler.iterate(start, Noise(4, range(2), dtype=torch.float64))
        x, memory, noise = start, Memory(), Noise(4, range(2), dtype=torch.float64)
        pairs = itertools.pairwise(sampler.times[:, None].expand(-1, 2))
        for step, (t, s) in zip(predictor.plan(process, sampler.times), pairs, strict=True):
            advance = step.advance(model, x, t, s, noise, memory)
            x, memory = advance.step.x, advance.memory
        torch.testing.assert_close(last.x, x, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("predictor", [DDIM(), UniPC()], ids=["ddim", "unipc"])
def test_a_compiled_step_reads_rows_and_is_compiled_once(predictor: Predictor) -> None:
    # Rows are inputs of the graph: no graph break, and one graph for every step that is of one kind.
    process, graphs = VPSDE(), []
    model = NoiseModel(Scaled(), process, Time(process, 999.0), "eps")
    times = grid_times(TIMES, 2)

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    def advance(x: Tensor, t: Tensor, s: Tensor, memory: Memory) -> Any:
        return predictor.advance(model, x, t, s, noise, memory)

    noise = Noise(0, range(2))
    compiled = torch.compile(advance, backend=backend, fullgraph=True)
    # A model counts its evaluations, and a changed number of a module would be compiled anew.
    with torch.no_grad(), torch._dynamo.config.patch(allow_unspec_int_on_nn_module=True):
        for do in (advance, compiled):  # the first makes the tables
            x, memory, states = torch.ones(2, 3), Memory(), []
            for t, s in itertools.pairwise(times):
                found = do(x, t, s, memory)
                x, memory = found.step.x, found.memory
                states.append(x)
            if do is advance:
                wanted = states
    torch.testing.assert_close(states, wanted)
    named = {node.name for graph in graphs for node in graph.graph.nodes}
    assert not {name for name in named if name.startswith(("exp", "log", "sqrt", "cos"))}
    assert len(graphs) <= 3  # an empty memory, one that fills, a full one
