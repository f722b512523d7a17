"""Transforms of the predicted data act on every view of a prediction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models.base import Network
from models.prediction.denoised import Clip, Denoised, DynamicThreshold
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib.base import expand
from sde_lib.noise import Noise
from sde_lib.vp import VPSDE


class TwiceTheState(Network):
    """x0 = 2 x."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return 2 * x


def test_views_of_the_transformed_prediction_agree() -> None:
    """Clipped, each view still solves x = alpha x0 + sigma eps."""
    sde, t = VPSDE(), torch.tensor([0.2, 0.7], dtype=torch.float64)
    x = Noise(0, range(2), dtype=torch.float64).normal((2, 3, 4, 4))
    model = Denoised(NoiseModel(TwiceTheState(), sde, Time(sde), "x0"), Clip(-1, 1))
    p, m = model(x, t), sde.marginal(t)
    torch.testing.assert_close(p.x0, (2 * x).clamp(-1, 1))
    torch.testing.assert_close(expand(m.alpha, x) * p.x0 + expand(m.sigma, x) * p.eps, x)
    torch.testing.assert_close(p.score, -p.eps / expand(m.sigma, x))
    assert model.nfe == 1


def test_transforms_chain_from_the_inside_out() -> None:
    """A hook first, then the clip, as guided-diffusion orders denoised_fn and clip_denoised."""
    sde, t, x = (
        VPSDE(),
        torch.tensor([0.5], dtype=torch.float64),
        torch.tensor([[0.3, -0.6]], dtype=torch.float64),
    )
    hooked = Denoised(NoiseModel(TwiceTheState(), sde, Time(sde), "x0"), lambda x0: x0 + 0.5)
    torch.testing.assert_close(
        Denoised(hooked, Clip())(x, t).x0, torch.tensor([[1.0, -0.7]], dtype=torch.float64)
    )


def test_dynamic_threshold_scales_each_sample_by_its_own_quantile() -> None:
    """|x0| of the first has the median 2, so it is clipped to 2 and halved; the second lies in the range."""
    x0 = torch.tensor([[0.5, -2.0, 4.0], [0.2, -0.4, 0.9]])
    expected = torch.tensor([[0.25, -1.0, 1.0], [0.2, -0.4, 0.9]])
    torch.testing.assert_close(DynamicThreshold(0.5)(x0), expected)
    torch.testing.assert_close(DynamicThreshold(0.5, low=0, high=1)((x0 + 1) / 2), (expected + 1) / 2)
    torch.testing.assert_close(DynamicThreshold(0.5, limit=1)(x0), x0.clamp(-1, 1))
    with pytest.raises(ValueError, match=r"quantile in \(0, 1\]"):
        DynamicThreshold(0)
