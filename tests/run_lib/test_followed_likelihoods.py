"""Progress within a batch of likelihoods: it rises from nothing to all, and changes no number."""

from __future__ import annotations

import pytest
import torch

from likelihood import log_likelihood, variational_bound
from likelihood.flow import velocity
from models import GaussianScore, NoiseModel, Time
from run_lib.evaluation import followed
from sde_lib import VPSDE, Noise
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.schedules import linear_betas


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    told: list[float] = []
    monkeypatch.setattr(followed, "within_unit", told.append)
    return told


def test_of_the_flow(shares: list[float]) -> None:
    sde = VPSDE()
    model = NoiseModel(GaussianScore(process=sde, mean=0.3, std=0.1), sde, Time(sde), "score")
    x, settings = (
        0.3 + 0.1 * torch.randn(5, 4, generator=torch.Generator().manual_seed(0)),
        {"rtol": 1e-6, "atol": 1e-6},
    )
    alone = log_likelihood(model, x, Noise(0, range(5)), **settings)  # type: ignore[arg-type]
    moving = followed.FollowedFlow(velocity)
    found = log_likelihood(model, x, Noise(0, range(5)), moving=moving, **settings)  # type: ignore[arg-type]
    assert torch.equal(found.logp, alone.logp)
    assert len(shares) == moving.evaluations // followed.EVERY > 3
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.5 < 0.9 < shares[-1] <= 1


def test_of_the_bound(shares: list[float]) -> None:
    """Each level is one evaluation; outside the block nothing is told."""
    chain = DiscreteDiffusion.ddpm(linear_betas(30))
    model = NoiseModel(GaussianScore(process=chain, mean=0.3, std=0.1), chain, Time(chain), "score")
    x = torch.zeros(2, 1)
    with followed.counted(model, 30):
        variational_bound(model, x, Noise(0, range(2)), bins=None)
    assert shares == pytest.approx([k / 30 for k in range(1, 31)])
    variational_bound(model, x, Noise(0, range(2)), bins=None)
    assert len(shares) == 30
