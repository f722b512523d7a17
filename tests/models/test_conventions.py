"""Conventions asked for by the process alone, against labels and outputs written out."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from models import Network, NoiseModel, convention
from sde_lib import (
    EDM,
    VESDE,
    VPSDE,
    Coefficients,
    DiscreteDiffusion,
    GaussianSDE,
    Marginal,
    Process,
    subVPSDE,
)
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.schedules import geometric_sigmas, linear_betas

BETAS = linear_betas(1000, 0.1, 20.0)
SIGMAS = geometric_sigmas(8, 0.01, 50.0)


class Labels(Network):
    """Remembers what it is fed."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        self.fed = labels
        return torch.zeros_like(x)


class Denoiser(Labels):
    """Says itself what it outputs and what it is fed."""

    output_kind: ClassVar[str] = "x0"  # type: ignore[assignment]
    time_label: ClassVar[str] = "sigma"  # type: ignore[assignment]


def fed(model: NoiseModel, t: float) -> float:
    model(torch.zeros(1, 3), model.process.time([t]))
    assert isinstance(model.network, Labels)
    return float(model.network.fed)


SHIPPED = [
    (VPSDE(), True, 0.5, 499.5, "eps"),
    (VPSDE(N=101), False, 0.255, 25.5, "eps"),
    (subVPSDE(), True, 0.5, 499.5, "eps"),
    (VESDE(sigma_min=0.01, sigma_max=50.0), True, 0.5, (0.01 * 50.0) ** 0.5, "score"),
    (VESDE(N=11), False, 0.25, 8.0, "score"),
    (EDM(), True, 3.0, 3.0, "x0"),
    (DiscreteDiffusion.ddpm(BETAS), True, 40, 40.0, "eps"),
    (DiscreteDiffusion.ddpm(BETAS).respace([0, 400, 999]), True, 1, 400.0, "eps"),
    (DiscreteDiffusion.smld(SIGMAS), True, 2, 5.0, "score"),
    (InterpolatedChain(DiscreteDiffusion.ddpm(BETAS)), True, 40.5, 40.5, "eps"),
    (InterpolatedChain(DiscreteDiffusion.ddpm(BETAS).respace([0, 400, 999])), True, 0.5, 200.0, "eps"),
    (InterpolatedChain(DiscreteDiffusion.smld(SIGMAS)), True, 2.5, 4.5, "score"),
]


@pytest.mark.parametrize(("process", "continuous", "t", "label", "output"), SHIPPED)
def test_a_process_alone_says_labels_and_output(
    process: Process, continuous: bool, t: float, label: float, output: str
) -> None:
    """VE's sigma halfway is the geometric mean of its ends; VE's discrete labels are rounded and descend."""
    model = convention(process, continuous=continuous).model(Labels())
    assert fed(model, t) == pytest.approx(label, rel=1e-6)
    assert model.output == output


def test_a_process_of_ones_own_takes_the_default() -> None:
    """Registered or not: labels 999 t / T, and eps, for it has a Gaussian marginal."""

    class Linear(GaussianSDE):
        T, N, t_min, t_end, prior_std = 2.0, 10, 1e-3, 1e-3, 1.0

        def marginal(self, t: Tensor) -> Marginal:
            return Marginal(1 - t / 2, t / 2)

        def sde(self, x: Tensor, t: Tensor) -> Coefficients:
            raise NotImplementedError

    model = convention(Linear()).model(Labels())
    assert fed(model, 0.5) == pytest.approx(999 * 0.5 / 2)
    assert model.output == "eps"


def test_the_name_may_be_given_and_decides() -> None:
    """As before; a name without a rule is the default one."""
    assert convention("smld", DiscreteDiffusion.ddpm(BETAS)).sampling.output == "score"
    assert fed(convention("of one's own", VPSDE(), True).sampling.model(Labels()), 1.0) == 999.0


def test_what_the_network_says_itself_comes_before_the_convention() -> None:
    """A VP network that is told sigma and gives clean data; alpha^2 + sigma^2 = 1."""
    process = VPSDE()
    model = convention(process).model(Denoiser())
    assert model.output == "x0"
    alpha = float(process.marginal(process.time([0.5])).alpha)
    assert fed(model, 0.5) == pytest.approx((1 - alpha**2) ** 0.5, rel=1e-6)


def test_learned_variances_are_read_where_they_are_declared() -> None:
    class Twice(Labels):
        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            return torch.cat([x, torch.full_like(x, 0.5)], dim=1)

    process = DiscreteDiffusion.ddpm(BETAS)
    model = convention(process).model(Twice(), variance="learned_range")
    prediction = model(torch.ones(1, 3), process.time([4]))
    assert prediction.variance is not None
    assert torch.equal(prediction.variance.values, torch.full((1, 3), 0.5))
