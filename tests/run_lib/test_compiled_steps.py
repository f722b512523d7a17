"""Steps and velocities compiled with their networks: one graph of a kind for all runs; the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from likelihood import ExactTrace, Hutchinson, log_likelihood
from models.prediction.noise_model import Model, NoiseModel
from models.prediction.time_encoding import Time
from run_lib.computing.numerics import AS_THEY_ARE, Arithmetic, Compilation, Evaluator
from run_lib.computing.steps import Steps, Velocities
from samplers import ClassifierFreeGuidance, LogProbGuidance, PCSampler, Predictor, SampleResult
from samplers.predictors.adaptive_sde import AdaptiveSDE
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.ddim import DDIM
from samplers.predictors.heun import Heun
from samplers.predictors.restart import Restart
from samplers.predictors.unipc import UniPC
from sde_lib import VPSDE, Noise
from sde_lib.grids import LogSNR
from tests.run_lib.planned import subject
from tests.run_lib.tiny import get_config as tiny

PROCESS, SIZE = VPSDE(), 2
COMPILED = Arithmetic(compiled=Compilation((SIZE,), steps=True))


class Dense(nn.Module):
    """A network with a weight, a label and, where it is given one, a class."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        nn.init.orthogonal_(self.layer.weight, generator=torch.Generator().manual_seed(0))
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor, labels: Tensor, y: Tensor | None = None) -> Tensor:
        told = labels / 999 if y is None else labels / 999 + y
        return torch.tanh(self.layer(x) + told[:, None])


def model() -> NoiseModel:
    network = Dense()
    return NoiseModel(network, PROCESS, Time(PROCESS, 999.0), "eps", evaluator=Evaluator(network))


@dataclass
class Graphs:
    """How many there are, how often they have run, and the names of what they compute."""

    traced: int = 0
    calls: int = 0
    names: set[str] = field(default_factory=set)

    def backend(self, module: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.traced += 1
        self.names |= {node.name.rstrip("_0123456789") for node in module.graph.nodes}

        def call(*arguments: Any) -> Any:
            self.calls += 1
            return module.forward(*arguments)

        return call


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graphs]:
    """torch's compiler without its code generator: what is traced runs by torch's plain operations."""
    compile, found = torch.compile, Graphs()
    torch._dynamo.reset()
    monkeypatch.setattr(
        torch,
        "compile",
        lambda f, dynamic: compile(f, dynamic=dynamic, backend=found.backend, fullgraph=True),
    )
    yield found
    torch._dynamo.reset()


def sampled(
    predictor: Predictor, by: Model, arithmetic: Arithmetic, shape: tuple[int, ...] = (3,), **cond: Tensor
) -> list[SampleResult]:
    """Two batches."""
    sampler = PCSampler.of(by, predictor, num_steps=8, grid=LogSNR())
    sampler = PCSampler(sampler.model, predictor, sampler.corrector, sampler.times, stepping=Steps())
    with arithmetic.used():
        return [sampler.sample((SIZE, *shape), Noise(k, range(SIZE)), **cond) for k in range(2)]


@pytest.mark.parametrize(
    ("predictor", "repeated", "kinds"),
    [
        (DDIM(), 6, 1),
        pytest.param(AncestralSampling(), 6, 1, marks=pytest.mark.slow),
        pytest.param(Heun(), 6, 1, marks=pytest.mark.slow),
        # The first two have one and two values less to go on from.
        (UniPC(solver_order=2), 4, 1),
        # One of the seven steps restarts; those after it find what it has tabulated.
        pytest.param(Restart(), 5, 2, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_step_that_a_run_has_again_is_one_graph(
    graphs: Graphs, predictor: Predictor, repeated: int, kinds: int
) -> None:
    """Seven steps: the first of each kind as it is, with the network's own graph, as has the closing evaluation."""
    plain = sampled(predictor, model(), Arithmetic())
    found = sampled(predictor, model(), COMPILED)
    for ours, theirs in zip(found, plain, strict=True):
        assert torch.equal(ours.x, theirs.x)
        assert ours.nfe == theirs.nfe
    assert graphs.traced == 1 + kinds
    alone = sum(one.nfe for one in plain) - 2 * repeated * (predictor.evaluations or 2)
    assert graphs.calls == 2 * repeated + alone
    if predictor.order is not None:  # coefficients are inputs, and there is no noise
        assert not graphs.names & {"exp", "expm1", "log", "sqrt", "neg"}


@pytest.mark.slow
def test_a_step_with_a_networks_own_layers_is_one_graph(graphs: Graphs) -> None:
    """Normalisation, attention, dropout, in bfloat16, whose casts are part of the graph."""
    by = subject(tiny()).sampling
    by.eval()
    plain, found = (
        sampled(DDIM(), by, Arithmetic("bfloat16", compiled=how, constant=True), (1, 8, 8))
        for how in (AS_THEY_ARE, COMPILED.compiled)
    )
    for ours, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(ours.x, theirs.x, rtol=1e-5, atol=1e-5)
    assert (graphs.traced, graphs.calls) == (2, 2 * 8)


def test_other_sizes_are_taken_as_they_are(graphs: Graphs) -> None:
    sampled(DDIM(), model(), Arithmetic(compiled=Compilation((SIZE + 1,), steps=True)))
    assert graphs.traced == 0


@pytest.mark.parametrize("name", ["adaptive", "interval"])
def test_what_branches_on_values_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A predictor that asks whether all have arrived, a model that asks whether a pair is needed."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("it was compiled")

    monkeypatch.setattr("run_lib.computing.steps._Compiled.__call__", refuse)
    monkeypatch.setattr("run_lib.computing.numerics.Compiled", lambda network: network)
    if name == "adaptive":
        sampled(AdaptiveSDE(relative=0.5, absolute=0.5), model(), COMPILED)
        return
    by = ClassifierFreeGuidance(model(), null_label=0, scale=2.0, interval=(0.1, 1.0))
    sampled(DDIM(), by, COMPILED, y=torch.ones(SIZE, dtype=torch.int64))


@pytest.mark.slow
@pytest.mark.parametrize("divergence", [Hutchinson(), ExactTrace()], ids=str)
def test_value_and_divergence_are_one_graph(graphs: Graphs, divergence: Any) -> None:
    """Both samples arrive together: their steps are one sample's."""
    x = Noise(3, range(1)).normal((1, 3)).expand(SIZE, -1).contiguous()
    by = model()

    def likelihood() -> Any:
        noise = Noise(4, torch.zeros(SIZE, dtype=torch.int64))
        return log_likelihood(by, x, noise, divergence=divergence, moving=Velocities())

    plain = likelihood()
    with COMPILED.used():
        found = likelihood()
    torch.testing.assert_close(found.logp, plain.logp, rtol=1e-6, atol=0)
    assert torch.equal(found.nfe, plain.nfe)
    assert (graphs.traced, graphs.calls) == (1, int(plain.nfe[0]))


def test_gradients_of_guidance_are_part_of_the_graph(graphs: Graphs) -> None:
    def log_prob(x: Tensor, t: Tensor) -> Tensor:
        return -x.square().log1p().sum(1)

    plain = sampled(DDIM(), LogProbGuidance(model(), log_prob), Arithmetic())
    found = sampled(DDIM(), LogProbGuidance(model(), log_prob), COMPILED)
    for ours, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(ours.x, theirs.x, rtol=1e-5, atol=1e-5)
    assert graphs.traced == 2
