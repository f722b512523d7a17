"""Bits/dim and latents of score_sde_pytorch, with its probes, its tolerance and its truncation.

The fixture's network is tanh(0.7 x) (0.3 + labels / 1000), fed 999 t (VP, subVP: its output is the noise)
or sigma(t) (VE: its output is the score); RK45 at 1e-5 from t = 1e-5, data in [-1, 1].
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from likelihood import bits_per_dim, get_likelihood_fn, log_likelihood
from models.base import Network
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import NoiseLevel, Time
from sde_lib import SDE, VESDE, VPSDE, Noise, subVPSDE

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures/score_sde/sde_and_score.npz"


class Net(Network):
    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return torch.tanh(0.7 * x) * (0.3 + labels.view(-1, 1, 1, 1) / 1000)


def model_of(name: str) -> NoiseModel:
    if name == "ve":
        ve = VESDE()
        return NoiseModel(Net(), ve, NoiseLevel(ve), "score")
    sde: SDE = VPSDE() if name == "vp" else subVPSDE()
    return NoiseModel(Net(), sde, Time(sde, 999), "eps")


def stored(name: str) -> Tensor:
    return torch.from_numpy(np.load(FIXTURE)[name])


@pytest.mark.parametrize("name", ["vp", "subvp", "ve"])
def test_the_ancestors_entry_point_reproduces_the_ancestor(name: str) -> None:
    # The same steps; what is left is float32 rounding, 1e-5 on VP's 10.8 bits and one unit in the last place
    # (3e-5) of VE's 434.
    model = model_of(name)
    fn = get_likelihood_fn(
        model.process,  # type: ignore[arg-type]
        lambda x: (x + 1) / 2,
        epsilon=stored(f"{name}|rademacher"),
    )
    bpd, z, nfe = fn(model, stored("x"))
    torch.testing.assert_close(bpd.float(), stored(f"{name}|bpd"), rtol=1e-6, atol=1e-6)
    # VE's flow ends 1e-6 from the origin, far inside the absolute tolerance.
    torch.testing.assert_close(z, stored(f"{name}|z"), rtol=0, atol=3e-5)
    assert nfe == model.nfe


@pytest.mark.parametrize("name", ["vp", "subvp", "ve"])
def test_a_bare_network_is_read_by_the_convention_of_its_process(name: str) -> None:
    """As score_sde's own demo gives it: the numbers are those of the model built by hand."""
    sde = model_of(name).process
    fn = get_likelihood_fn(sde, lambda x: (x + 1) / 2, epsilon=stored(f"{name}|rademacher"))  # type: ignore[arg-type]
    bpd, _, _ = fn(Net(), stored("x"))
    torch.testing.assert_close(bpd.float(), stored(f"{name}|bpd"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("coordinates", ["time", "angle"])
@pytest.mark.parametrize("name", ["vp", "subvp", "ve"])
def test_steps_of_its_own_for_each_image_agree_to_the_tolerance(name: str, coordinates: Any) -> None:
    # The ancestor's pair and tolerance. Its own error at 1e-5 is part of the difference: 1e-3 in z, 5e-4 bits/dim.
    probe = stored(f"{name}|rademacher").flatten(1)[:, None]
    result = log_likelihood(
        model_of(name),
        stored("x"),
        Noise(0, range(6)),
        rtol=1e-5,
        atol=1e-5,
        method="dopri5",
        t_min=1e-5,
        coordinates=coordinates,
        probes=probe,
    )
    bpd = bits_per_dim(result.logp, 192, levels=256, data_range=2.0)
    torch.testing.assert_close(bpd.float(), stored(f"{name}|bpd"), rtol=0, atol=5e-4)
    torch.testing.assert_close(result.z, stored(f"{name}|z"), rtol=0, atol=1e-3)


def test_uncentred_data_cost_one_bit_more() -> None:
    # The ancestor's offset: 7 bits on [-1, 1], 8 on [0, 1].
    model = model_of("subvp")
    probe = stored("subvp|rademacher")
    centred = get_likelihood_fn(model.process, lambda x: (x + 1) / 2, epsilon=probe)  # type: ignore[arg-type]
    uncentred = get_likelihood_fn(model.process, lambda x: x, epsilon=probe)  # type: ignore[arg-type]
    difference = uncentred(model, stored("x"))[0] - centred(model, stored("x"))[0]
    torch.testing.assert_close(difference, torch.ones(6, dtype=torch.float64))


def test_an_unknown_distribution_of_probes_is_refused() -> None:
    with pytest.raises(ValueError, match="Rademacher, Gaussian"):
        get_likelihood_fn(VPSDE(), lambda x: x, hutchinson_type="rademacher")
