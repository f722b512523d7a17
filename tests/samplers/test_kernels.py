"""Kernels of a step without its network: coefficients are computed once for a run, and a step is what they multiply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models.base import Network
from models.networks.edm import EDMPreconditioned
from models.prediction.conventions import convention
from models.prediction.noise_model import Model, NoiseModel, Output
from samplers import PCSampler, Predictor, register_predictor
from samplers.correctors.ald import AnnealedLangevin
from samplers.correctors.langevin import Langevin
from samplers.predictors.ddim import DDIM
from samplers.predictors.euler_maruyama import EulerMaruyama
from samplers.predictors.heun import Heun
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from sde_lib import EDM, VESDE, VPSDE, DiscreteDiffusion, Noise, Process, linear_betas, subVPSDE
from sde_lib.needs import serves

DETERMINISTIC, STOCHASTIC = 12, 20
"""Limits: with one draw of noise counted as one kernel, and the network as none."""

CHAIN = DiscreteDiffusion.ddpm(linear_betas(1000))
MODELS: dict[str, tuple[Process, Output]] = {
    "VP": (VPSDE(), "eps"),
    "subVP": (subVPSDE(), "eps"),
    "VE": (VESDE(), "score"),
    "EDM": (EDM(), "x0"),
    "chain": (CHAIN, "eps"),
}


class Kernels(TorchDispatchMode):
    """Counts calls that compute or copy; not views, uninitialised memory and questions about types."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func._schema.returns
        is_view = (
            bool(returned) and returned[0].alias_info is not None and not returned[0].alias_info.is_write
        )
        launches = not is_view and not func._schema.name.startswith(("aten::empty", "aten::promote_types"))
        if launches and not self.paused:
            self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


class Drawn(Noise):
    """Noise whose ``normal`` counts as one kernel."""

    def __init__(self, count: int, kernels: Kernels) -> None:
        super().__init__(0, range(count))
        self._kernels = kernels

    def normal(self, shape: Sequence[int]) -> Tensor:
        self._kernels.paused = True
        value = super().normal(shape)
        self._kernels.paused = False
        self._kernels.names.append("Noise.normal")
        return value


class Identity(nn.Module):
    """A network without a kernel."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return x


class Untold(Network):
    """The same, as one of ours."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return x


def model_of(name: str, output: Output | None = None) -> NoiseModel:
    process, usual = MODELS[name]
    return NoiseModel(Identity(), process, convention(process).model(Identity()).time, output or usual)


def kernels(model: Model, predictor: Predictor, step: int = 5, **settings: Any) -> list[str]:
    """Of a step in the middle of a run, whose memory is full and whose tables are there."""
    sampler = PCSampler.of(model, predictor, num_steps=10, noise_removal=False, **settings)
    counted = Kernels()
    steps = sampler.iterate(torch.ones(4, 3, 8, 8), Drawn(4, counted))
    for _ in range(step):
        next(steps)
    counted.names.clear()
    with counted:
        next(steps)
    return counted.names


def limit(predictor: Predictor) -> int:
    return STOCHASTIC if predictor.order is None else DETERMINISTIC


# adaptive_sde takes steps of its own; a step of restart is one of heun, or many.
NAMES = sorted(set(register_predictor) - {"adaptive_sde", "restart"})
PREDICTORS = [register_predictor[name]() for name in NAMES]
PREDICTORS += [EulerMaruyama(True), ReverseDiffusion(True), DDIM(1.0), Heun(churn=0.1)]


@pytest.mark.parametrize(
    ("name", "output"),
    [*((name, None) for name in MODELS), *((name, "v") for name in MODELS if name != "EDM")],
)
def test_a_step_has_few_kernels(name: str, output: Output | None) -> None:
    """Of networks of the velocity too."""
    found = {
        str(predictor): kernels(model_of(name, output), predictor)
        for predictor in PREDICTORS
        if serves(MODELS[name][0], predictor)
    }
    limits = {str(predictor): limit(predictor) for predictor in PREDICTORS}
    over = {predictor: names for predictor, names in found.items() if len(names) > limits[predictor]}
    assert len(found) >= 15
    assert not over


def test_ddim_is_two_fused_kernels_and_its_prediction() -> None:
    # eps is the output; x0 = (x - sigma eps) / alpha is two, and the step two more. No cast, no copy, no exponential.
    names = kernels(model_of("VP"), DDIM())
    assert sorted(names) == ["aten::addcmul", "aten::addcmul", "aten::div", "aten::mul"]


def test_a_view_of_a_velocity_is_two_kernels() -> None:
    # x0 and eps are each a product and a fused multiply-add, and the step as many.
    names = kernels(model_of("VP", "v"), DDIM())
    assert sorted(names) == ["aten::addcmul"] * 3 + ["aten::mul"] * 3


def test_preconditioning_is_computed_once_for_a_run() -> None:
    # Beside the step's: the scaled state, the two terms and their sum. Nothing of the noise level is left.
    network = EDMPreconditioned(Untold())
    model = convention(EDM()).model(network)
    of_network = sorted(kernels(model, DDIM()))
    for name in kernels(model_of("EDM"), DDIM()):
        of_network.remove(name)
    assert of_network == ["aten::add"] + ["aten::mul"] * 3


@pytest.mark.parametrize("corrector", [Langevin(), AnnealedLangevin()])
def test_a_corrector_has_few_kernels(corrector: Any) -> None:
    alone = kernels(model_of("VP"), register_predictor["none"](), corrector=corrector)
    assert 0 < len(alone) <= STOCHASTIC


def test_the_count_sees_what_it_should() -> None:
    # Two kernels, a view, a comparison and a copy to the host.
    x = torch.ones(3)
    with Kernels() as counted:
        (x + 1).reshape(3, 1).mul_(2).eq(2).sum().item()
    assert counted.names == ["aten::add", "aten::mul_", "aten::eq", "aten::sum", "aten::_local_scalar_dense"]
