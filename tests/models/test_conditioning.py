"""What a network is told and does not know is refused by name, whatever the network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models import register_model
from sde_lib import VPSDE

TAKES = {
    "adm": "y",
    "adm_encoder": "none",
    "adm_superres": "y and low_res",
    "correlated_gaussian": "none",
    "ddpm": "y",
    "ddpm_1d": "y",
    "ddpmpp": "y",
    "dit": "y",
    "edm2": "y",
    "edm_adm": "y",
    "edm_ddpmpp": "y",
    "edm_ncsnpp": "y",
    "gaussian": "none",
    "gaussian_mixture": "y",
    "mlp": "y",
    "ncsn": "none",
    "ncsnpp": "y",
    "ncsnv2_128": "none",
    "ncsnv2_256": "none",
    "ncsnv2_64": "none",
}
UNET: dict[str, Any] = {"channels": 8, "channel_mult": (1,), "num_res_blocks": 1, "image_size": 8}
ADM: dict[str, Any] = UNET | {"in_channels": 3, "attention_resolutions": (), "norm_groups": 4}
SETTINGS: dict[str, dict[str, Any]] = {
    "adm": ADM,
    "adm_encoder": ADM | {"pool": "adaptive", "num_heads": 1},
    "adm_superres": ADM,
    "correlated_gaussian": {"process": VPSDE(), "covariance": [[1.0]]},
    "ddpm": UNET,
    "ddpm_1d": UNET | {"image_size": (8,)},
    "ddpmpp": UNET,
    "dit": {"in_channels": 3, "image_size": 8, "channels": 8, "depth": 1, "num_heads": 2},
    "edm2": UNET | {"head_channels": 8},
    "edm_adm": ADM | {"num_head_channels": 8},
    "edm_ddpmpp": UNET,
    "edm_ncsnpp": UNET,
    "gaussian": {"process": VPSDE()},
    "gaussian_mixture": {"process": VPSDE(), "means": [[0.0]]},
    "ncsnpp": UNET,
}


def test_the_table_names_every_network() -> None:
    assert sorted(register_model) == sorted(TAKES)


@pytest.mark.parametrize("name", TAKES)
def test_a_condition_that_a_network_does_not_know_is_refused(name: str) -> None:
    network = register_model[name](**SETTINGS.get(name, {"channels": 8}))
    with pytest.raises(ValueError, match=f"unknown conditioning text; this network takes {TAKES[name]}[.]"):
        network(torch.zeros(2, 3, 8, 8), torch.ones(2), text=torch.zeros(2))
