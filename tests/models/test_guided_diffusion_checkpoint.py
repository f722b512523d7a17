"""Published files of guided-diffusion and improved-diffusion: same names, same function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from models.base import Network
from models.checkpoints.guided_diffusion import GuidedDiffusionFamily
from models.checkpoints.loader import load_weights
from models.networks.adm import ADM, ADMSuperRes
from models.networks.adm_encoder import ADMEncoder
from tests.fixtures.weights import ROOT, Fixture, relative_error

NAMES = sorted(
    str(path.relative_to(ROOT).with_suffix(""))
    for folder in ("guided_diffusion", "improved_diffusion")
    for path in (ROOT / folder).glob("*.npz")
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
    fixture: Fixture

    def difference(self, folder: Path) -> float:
        """Relative difference of the outputs after a round through a file on disk."""
        path = folder / "ema_0.9999_010000.pt"
        torch.save(self.fixture.weights, path)
        loaded = load_weights(self.network, path)
        assert loaded.family == "guided_diffusion"
        kwargs = self.fixture.meta["kwargs"]
        cond = {"y": self.fixture["y"]} if "num_classes" in kwargs else {}
        if self.fixture.meta["cls"] == "SuperResModel":
            cond["low_res"] = self.fixture["low_res"]
        with torch.no_grad():
            output = self.network(self.fixture["x"], self.fixture["timesteps"].float(), **cond)
        return relative_error(output, self.fixture["output"])


def reference(name: str, **changes: Any) -> Reference:
    fixture = Fixture(f"{name}.npz")
    # Their constructors' defaults where ours differ; they name levels by reduction, we by size.
    kwargs = {"image_size": 16, "use_scale_shift_norm": False, "resblock_updown": False}
    kwargs |= fixture.meta["kwargs"]
    kwargs["channels"] = kwargs.pop("model_channels")
    kwargs["attention_resolutions"] = [16 // factor for factor in kwargs["attention_resolutions"]]
    return Reference(OURS[fixture.meta["cls"]](**kwargs | changes).eval(), fixture)


@pytest.mark.parametrize("name", NAMES)
def test_a_published_file_computes_what_the_reference_computes(name: str, tmp_path: Path) -> None:
    """Expected outputs were stored by the reference implementations themselves."""
    assert reference(name).difference(tmp_path) < 1e-5


def test_every_reference_network_is_covered() -> None:
    """Six U-Nets and up-samplers, four pools, and two of improved-diffusion."""
    assert len(NAMES) == 12


def test_channels_last_computes_the_same(tmp_path: Path) -> None:
    """Memory layout is no part of the function."""
    ref = reference("guided_diffusion/unet_adm")
    ref.network.to(memory_format=torch.channels_last)
    assert ref.difference(tmp_path) < 1e-5


def test_the_order_of_attention_channels_matters(tmp_path: Path) -> None:
    """The wrong order loads without an error (nothing in the file tells), so it must be a setting."""
    ref = reference("guided_diffusion/unet_new_attention_order", use_new_attention_order=False)
    assert ref.difference(tmp_path) > 1e-2


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
    torch.save(ref.fixture.weights | {"step": 7}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="plain state dict, but 'step' holds a int"):
        load_weights(ref.network, tmp_path / "model.pt")
