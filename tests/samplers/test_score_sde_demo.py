"""score_sde's functions take what its own demo gives them: any module that is called with states and labels.

Its networks are bare modules, or wrapped in DataParallel. The right values are those of the model that is built by hand
from the same network, by the labels and the output that score_sde documents: 999 t and the noise for VP and subVP,
sigma(t) and the score for VE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from likelihood import get_likelihood_fn
from models.base import Network
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import NoiseLevel, Time
from samplers import get_ode_sampler, get_pc_colorizer, get_pc_inpainter, get_pc_sampler
from samplers.base import register_corrector, register_predictor
from samplers.score_sde.conditional import get_pc_conditional_sampler
from sde_lib import VESDE, VPSDE, GaussianSDE, subVPSDE

SHAPE = (2, 3, 4, 4)
SDES: dict[str, GaussianSDE] = {"vp": VPSDE(N=6), "subvp": subVPSDE(N=6), "ve": VESDE(N=6)}


def value(x: Tensor, labels: Tensor) -> Tensor:
    return torch.tanh(0.7 * x) * (0.3 + labels.view(-1, 1, 1, 1) / 1000)


class Ours(Network):
    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return value(x, labels)


class Theirs(nn.Module):
    """As score_sde's networks are: no base class of ours, and no further arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, time_cond: Tensor) -> Tensor:
        return value(x, time_cond) * self.weight


class OfClasses(nn.Module):
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), -x.flatten(1).mean(1)], dim=1)


BARE: dict[str, Callable[[], nn.Module]] = {
    "network": Ours,
    "module": Theirs,
    "parallel network": lambda: nn.DataParallel(Ours()),
    "parallel module": lambda: nn.DataParallel(Theirs()),
}


def by_hand(sde: GaussianSDE) -> NoiseModel:
    if isinstance(sde, VESDE):
        return NoiseModel(Ours(), sde, NoiseLevel(sde), "score")
    return NoiseModel(Ours(), sde, Time(sde, 999), "eps")


def to_unit(x: Tensor) -> Tensor:
    return (x + 1) / 2


PREDICTOR, CORRECTOR = register_predictor["reverse_diffusion"], register_corrector["langevin"]
IMAGES = torch.linspace(-1, 1, 96).reshape(SHAPE)
MASK = (torch.arange(16).reshape(4, 4) % 2).float()


def likelihood_fn(sde: GaussianSDE, model: nn.Module) -> Tensor:
    bpd, z, nfe = get_likelihood_fn(sde, to_unit, rtol=0.1, atol=0.1, eps=1e-2)(model, IMAGES)
    assert nfe > 0
    return torch.cat([bpd.float(), z.flatten()])


def pc_sampler(sde: GaussianSDE, model: nn.Module) -> Tensor:
    make = get_pc_sampler(
        sde, SHAPE, PREDICTOR, CORRECTOR, to_unit, 0.16, n_steps=1, probability_flow=False, continuous=True,
        eps=1e-3, device="cpu",
    )  # fmt: skip
    return make(model)[0]


def ode_sampler(sde: GaussianSDE, model: nn.Module) -> Tensor:
    make = get_ode_sampler(
        sde, SHAPE, to_unit, denoise=True, rtol=1e-3, atol=1e-3, method="RK45", eps=1e-3, device="cpu"
    )  # fmt: skip
    return make(model)[0]


def inpainter(sde: GaussianSDE, model: nn.Module) -> Tensor:
    make = get_pc_inpainter(
        sde, PREDICTOR, CORRECTOR, to_unit, snr=0.16, n_steps=1, probability_flow=False, continuous=True, denoise=True
    )  # fmt: skip
    return make(model, IMAGES, MASK)


def colorizer(sde: GaussianSDE, model: nn.Module) -> Tensor:
    make = get_pc_colorizer(
        sde, PREDICTOR, CORRECTOR, to_unit, snr=0.16, n_steps=1, probability_flow=False, continuous=True, denoise=True
    )  # fmt: skip
    return make(model, IMAGES)


def conditional_sampler(sde: GaussianSDE, model: nn.Module) -> Tensor:
    make = get_pc_conditional_sampler(
        sde, model, OfClasses(), None, SHAPE, PREDICTOR, CORRECTOR, to_unit, snr=0.16, continuous=True, device="cpu"
    )  # fmt: skip
    return make(torch.tensor([0, 1]))


ENTRIES = (likelihood_fn, pc_sampler, ode_sampler, inpainter, colorizer, conditional_sampler)


@pytest.mark.slow
@pytest.mark.parametrize("form", BARE)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
@pytest.mark.parametrize("name", SDES)
def test_every_entry_point_takes_every_form(name: str, entry: Any, form: str) -> None:
    sde = SDES[name]
    torch.testing.assert_close(entry(sde, BARE[form]()), entry(sde, by_hand(sde)), rtol=0, atol=0)


def test_scipys_names_of_the_solvers() -> None:
    """RK45 is dopri5; and another name is refused with those that are known."""
    model = by_hand(SDES["vp"])

    def drawn(method: str) -> Tensor:
        return get_ode_sampler(SDES["vp"], SHAPE, to_unit, rtol=1e-3, method=method, device="cpu")(model)[0]

    assert torch.equal(drawn("RK45"), drawn("dopri5"))
    assert torch.equal(drawn("DOP853"), drawn("dop853"))
    assert not torch.equal(drawn("dop853"), drawn("dopri5"))
    with pytest.raises(ValueError, match="unknown ODE solver 'LSODA'; known: dopri5, dop853"):
        drawn("LSODA")


def test_a_network_that_says_how_it_is_read_says_so_when_it_is_wrapped() -> None:
    class OfData(Network):
        output_kind = "x0"
        time_label = "sigma"

        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            return value(x, labels)

    sde = SDES["vp"]
    wanted = NoiseModel(OfData(), sde, NoiseLevel(sde), "x0")
    for model in (OfData(), nn.DataParallel(OfData())):
        torch.testing.assert_close(pc_sampler(sde, model), pc_sampler(sde, wanted), rtol=0, atol=0)
