"""EDM's and EDM2's networks in every preconditioning, against the public programs, from files of their structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.base import Network, register_model
from models.checkpoints.loader import load_weights
from models.checkpoints.nvlabs import build, snapshot
from models.checkpoints.reader import read_payload
from models.networks.edm import EDMPreconditioned
from models.networks.edm2 import EDM2
from models.networks.edm2_block import MPBlock
from models.networks.edm_baselines import IDDPMPreconditioned, VEPreconditioned, VPPreconditioned
from models.networks.preconditioned import Preconditioned
from tests.fixtures.nvlabs_files import of_fixture
from tests.fixtures.weights import Fixture, relative_error

FIXTURES = {
    "edm/ddpmpp_edm": "edm_ddpmpp",
    "edm/ddpmpp_vp": "edm_ddpmpp",
    "edm/ncsnpp_edm": "edm_ncsnpp",
    "edm/ncsnpp_ve": "edm_ncsnpp",
    "edm/adm_edm": "edm_adm",
    "edm/adm_iddpm": "edm_adm",
    "edm2/small": "edm2",
    "edm2/uncond": "edm2",
}


def loaded(fixture: Fixture, folder: Path) -> Network:
    """Our network of a fixture, built from the file's own arguments."""
    path = of_fixture(fixture, folder / "network-snapshot.pkl")
    network = build(snapshot(read_payload(path)).architecture).eval()
    report = load_weights(network, path)
    assert report.used == len(fixture.weights) + fused(fixture)
    return network


def fused(fixture: Fixture) -> int:
    """How many more matrices ours has: SongUNet's q, k and v are one."""
    song = fixture.meta["kwargs"].get("model_type") == "SongUNet"
    return 2 * sum(".qkv." in name for name, _ in fixture.meta["parameters"]) if song else 0


@pytest.mark.parametrize("name", FIXTURES)
def test_computes_the_function_of_the_public_program(name: str, tmp_path: Path) -> None:
    """At two shapes, one of them no square; the second sample has no class."""
    fixture = Fixture(f"{name}.npz")
    arguments = fixture.meta["kwargs"]
    network = loaded(fixture, tmp_path)
    for shape in "ab":
        told: dict[str, Tensor] = {}
        if arguments["label_dim"]:
            told["y"] = fixture[f"y_{shape}"]
        if arguments.get("augment_dim"):
            told["augment"] = fixture[f"augment_{shape}"]
        x, sigma = fixture[f"x_{shape}"], fixture[f"sigma_{shape}"]
        with torch.no_grad():
            output = network(x, sigma, **told)
        further = 2 if fixture.meta["class"] == "iDDPMPrecond" else 1
        assert output.shape[1] == further * x.shape[1]
        assert relative_error(output[:, : x.shape[1]], fixture[f"output_{shape}"]) < 1e-5


@pytest.mark.parametrize("name", ["edm2/small", "edm2/uncond"])
def test_uncertainty_and_forced_normalisation_are_the_public_programs(name: str, tmp_path: Path) -> None:
    fixture = Fixture(f"{name}.npz")
    network = loaded(fixture, tmp_path)
    for shape in "ab":
        found = network.log_variance(fixture[f"sigma_{shape}"])
        assert found is not None
        torch.testing.assert_close(found, fixture[f"log_variance_{shape}"], rtol=1e-5, atol=1e-6)
    network.constrain()
    inner = network.get_submodule("network")
    assert isinstance(inner, EDM2)
    torch.testing.assert_close(inner.conv_out.weight.data, fixture["constrained"], rtol=1e-5, atol=1e-6)


def test_no_class_is_a_vector_of_zeros() -> None:
    """The label after the last, against the same network with the class's weights at zero."""
    settings: dict[str, Any] = {"image_size": 8, "channels": 32, "channel_mult": (1,), "num_res_blocks": 1,
                                "attention_resolutions": (), "num_classes": 3}  # fmt: skip
    x, labels = torch.ones(2, 3, 8, 8), torch.tensor([0.3, 2.0])
    for name, table in (("edm_ddpmpp", "class_features.linear.weight"), ("edm_adm", "label_embed.weight"),
                        ("edm2", "class_embedding.weight")):  # fmt: skip
        given = settings | ({"norm_groups": 8, "num_head_channels": 32} if name == "edm_adm" else {})
        given |= {"head_channels": 32} if name == "edm2" else {}
        network = register_model[name](**given).eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)
        none = network(x, labels, y=torch.tensor([3, 3]))
        told = network(x, labels, y=torch.tensor([0, 2]))
        assert not torch.allclose(told, none, rtol=1e-3)
        torch.nn.init.zeros_(network.get_parameter(table))
        torch.testing.assert_close(network(x, labels, y=torch.tensor([0, 2])), none)


def test_preconditionings_are_the_papers_columns() -> None:
    """Karras et al. 2022, table 1: c_skip, c_out, c_in and c_noise at two levels, computed by hand in plain numbers."""
    sigma = torch.tensor([0.5, 4.0], dtype=torch.float64)
    inner = register_model["edm_ddpmpp"](image_size=8, channels=8, channel_mult=(1,), num_res_blocks=1)
    vp = VPPreconditioned(inner).coefficients(sigma)
    # The time of the noise level under VP: exp(19.9 t^2 / 2 + 0.1 t) - 1 = sigma^2.
    t = vp.noise / 999
    torch.testing.assert_close((19.9 * t**2 / 2 + 0.1 * t).exp() - 1, sigma**2)
    torch.testing.assert_close(vp.scale_in**-2, sigma**2 + 1)
    ve = VEPreconditioned(inner).coefficients(sigma)
    torch.testing.assert_close(ve.noise.exp(), sigma / 2)
    for c, sign in ((vp, -1), (ve, 1)):
        assert c.skip.tolist() == [1, 1]
        torch.testing.assert_close(c.out, sign * sigma)
    iddpm = IDDPMPreconditioned(inner, N=4)
    levels = iddpm.levels
    # u_j^2 + 1 is the product of the clipped ratios: a ratio of squared sines telescopes to a_N / a_j above the floor.
    angle = torch.pi / 2 * torch.arange(5, dtype=torch.float64) / 4 / 1.008
    expected = (angle[-1].sin() ** 2 / angle.sin() ** 2 - 1)[1:].sqrt()
    torch.testing.assert_close(levels[1:].double(), expected, rtol=1e-6, atol=1e-7)
    assert float(levels[0]) == pytest.approx(((float(levels[1]) ** 2 + 1) / 0.001 - 1) ** 0.5)
    nearest = iddpm.coefficients(levels[1:4] * 1.01)
    assert nearest.noise.tolist() == [2, 1, 0]


@pytest.mark.parametrize("kind", [VPPreconditioned, VEPreconditioned, IDDPMPreconditioned])
def test_every_preconditioning_passes_the_error_on(kind: type[Preconditioned]) -> None:
    """At the c_noise that the network is told."""
    inner = EDM2(in_channels=1, image_size=8, channels=8, channel_mult=(1,), head_channels=4)
    network, sigma = kind(inner), torch.tensor([0.1, 1.0, 7.0])
    assert network.has_log_variance
    found = network.log_variance(sigma)
    assert found is not None
    torch.testing.assert_close(found, inner.log_variance(network.coefficients(sigma).noise))
    network.train_log_variance()
    assert inner.error.weight.requires_grad
    assert list(network.apart()) == list(inner.apart())


def test_a_preconditioning_by_index_refuses_a_network_of_logarithms() -> None:
    inner = register_model["edm_ncsnpp"](image_size=8, channels=8, channel_mult=(1,), num_res_blocks=1)
    with pytest.raises(ValueError, match="the index of a level: take a network that embeds the label itself"):
        VPPreconditioned(inner)
    with pytest.raises(ValueError, match=r"beta_min lies below beta_max; got 20\.0 and 20\.0"):
        VPPreconditioned(
            register_model["edm_ddpmpp"](channels=8, channel_mult=(1,), num_res_blocks=1), beta_min=20.0
        )


def test_edm2_refuses_what_it_cannot_be_told() -> None:
    settings: dict[str, Any] = {
        "image_size": 8,
        "channels": 8,
        "channel_mult": (1,),
        "num_res_blocks": 1,
        "head_channels": 8,
    }
    x, labels = torch.ones(1, 3, 8, 8), torch.ones(1)
    with pytest.raises(ValueError, match="knows 3 classes, and got no labels y"):
        EDM2(**settings, num_classes=3)(x, labels)
    with pytest.raises(ValueError, match=r"knows no classes .num_classes is None., and got labels y"):
        EDM2(**settings)(x, labels, y=torch.tensor([0]))
    with pytest.raises(ValueError, match="8 channels do not divide into attention heads of 5"):
        EDM2(**(settings | {"head_channels": 5}))
    with pytest.raises(ValueError, match="does not divide by 2"):
        EDM2(**(settings | {"channel_mult": (1, 1)})).check_shape((3, 8, 7))
    assert EDMPreconditioned(EDM2(**settings)).log_variance(labels) is not None


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 4, 8, 4)])
def test_networks_of_other_ranks_keep_the_size(shape: tuple[int, ...]) -> None:
    """Signals and volumes, and the output is that of the sample alone: rows do not mix."""
    size = shape[2:]
    for name in ("edm_ddpmpp", "edm_ncsnpp", "edm2"):
        heads = {"head_channels": 8} if name == "edm2" else {}
        network = register_model[name](
            image_size=size, channels=8, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(4,), **heads
        )  # fmt: skip
        generator = torch.Generator().manual_seed(0)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)
        x, labels = torch.randn(shape, generator=generator), torch.tensor([0.4, 3.0])
        both = network.eval()(x, labels)
        assert both.shape == x.shape
        torch.testing.assert_close(network(x[1:], labels[1:]), both[1:])


def test_features_are_cut_to_256() -> None:
    """Of a block on the way up, which does not normalise its input."""
    torch.manual_seed(0)
    output = MPBlock(4, 4, 4, rank=2, way="up")(torch.full((1, 4, 2, 2), 1e4), torch.zeros(1, 4))
    assert float(output.detach().abs().max()) == 256
