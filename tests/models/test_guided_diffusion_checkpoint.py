"""Published files of guided-diffusion and improved-diffusion: same names, same function."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.adm import ADM, ADMSuperRes
from models.adm_encoder import ADMEncoder
from models.base import Network
from models.checkpoints.guided_diffusion import GuidedDiffusionFamily
from models.checkpoints.loader import load_weights
from tests.fixtures.weights import weight

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = sorted(
    str(path.relative_to(FIXTURES).with_suffix(""))
    for folder in ("guided_diffusion", "improved_diffusion")
    for path in (FIXTURES / folder).glob("*.npz")
    if path.stem != "gaussian_diffusion"
)
OURS: dict[str, type[Network]] = {
    "UNetModel": ADM,
    "SuperResModel": ADMSuperRes,
    "EncoderUNetModel": ADMEncoder,
}


@dataclass(frozen=True)
class Reference:
    """One fixture: the network as we build it, the file as they save it, and what it computes."""

    network: Network
    state: dict[str, Tensor]
    x: Tensor
    labels: Tensor
    cond: dict[str, Tensor]
    output: Tensor


def reference(name: str, **changes: Any) -> Reference:
    with np.load(FIXTURES / f"{name}.npz") as f:
        meta = json.loads(str(f["meta"]))
        # Their constructors' defaults where ours differ; they name levels by reduction, we by size.
        kwargs = {"image_size": 16, "use_scale_shift_norm": False, "resblock_updown": False} | meta["kwargs"]
        kwargs["channels"] = kwargs.pop("model_channels")
        kwargs["attention_resolutions"] = [16 // factor for factor in kwargs["attention_resolutions"]]
        return Reference(
            network=OURS[meta["cls"]](**kwargs | changes).eval(),
            state={key: torch.from_numpy(weight(key, shape)) for key, shape in meta["parameters"]},
            x=torch.from_numpy(f["x"]),
            labels=torch.from_numpy(f["timesteps"]).float(),
            cond={key: torch.from_numpy(f[key]) for key in ("y", "low_res") if key in f.files},
            output=torch.from_numpy(f["output"]),
        )


def difference(ref: Reference, folder: Path) -> float:
    """Relative difference of the outputs after a round through a file on disk."""
    torch.save(ref.state, folder / "ema_0.9999_010000.pt")
    loaded = load_weights(ref.network, folder / "ema_0.9999_010000.pt")
    assert loaded.family == "guided_diffusion"
    assert loaded.used == len(ref.state)
    with torch.no_grad():
        output = ref.network(ref.x, ref.labels, **ref.cond)
    return float((output - ref.output).norm() / ref.output.norm())


@pytest.mark.parametrize("name", NAMES)
def test_a_published_file_computes_what_the_reference_computes(name: str, tmp_path: Path) -> None:
    """Expected outputs were stored by the reference implementations themselves."""
    assert difference(reference(name), tmp_path) < 1e-5


def test_every_reference_network_is_covered() -> None:
    """Six U-Nets and up-samplers, four pools, and two of improved-diffusion."""
    assert len(NAMES) == 12


def test_channels_last_computes_the_same(tmp_path: Path) -> None:
    """Memory layout is no part of the function."""
    ref = reference("guided_diffusion/unet_adm")
    ref.network.to(memory_format=torch.channels_last)
    assert difference(ref, tmp_path) < 1e-5


def test_the_order_of_attention_channels_matters(tmp_path: Path) -> None:
    """The wrong order loads without an error (nothing in the file tells), so it must be a setting."""
    ref = reference("guided_diffusion/unet_new_attention_order", use_new_attention_order=False)
    assert difference(ref, tmp_path) > 1e-2


def test_architectures_that_were_never_published_are_refused() -> None:
    """Transposed convolutions exist here only; no name of theirs can be meant."""
    network = ADM(
        image_size=16, channels=32, channel_mult=(1, 1), attention_resolutions=(), upsample="transposed"
    )
    with pytest.raises(ValueError, match=r"no network with ADM's parameter 'decoder\.2\.resample\.deconv"):
        GuidedDiffusionFamily().key_map(network)


def test_a_file_with_more_than_weights_is_refused(tmp_path: Path) -> None:
    """A step counter among the weights is not what the references save; the message names it."""
    ref = reference("guided_diffusion/unet_plain")
    torch.save(ref.state | {"step": 7}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="plain state dict, but 'step' holds a int"):
        load_weights(ref.network, tmp_path / "model.pt")
