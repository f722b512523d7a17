"""NCSN and NCSNv2: their references' outputs through files of every known format, and the formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.base import Network
from models.blocks.level_normalization import get_normalization
from models.checkpoints.loader import load_weights
from models.checkpoints.ncsn import NCSNFamily
from models.networks.ncsn import NCSN
from models.networks.ncsnv2 import NCSNv2For64, NCSNv2For128, NCSNv2For256
from tests.fixtures.weights import Fixture, relative_error


def network_of(fixture: Fixture) -> Network:
    """A network of a fixture's architecture, with whatever weights it starts with."""
    m = fixture.meta["model"]
    if fixture.meta["cls"] == "NCSN":
        return NCSN(channels=m["ngf"], num_scales=m["num_classes"]).eval()
    return NCSNv2For64(
        channels=m["ngf"], num_scales=m["num_classes"], sigma_max=m["sigma_begin"], sigma_min=m["sigma_end"]
    ).eval()


def sigmas_of(fixture: Fixture) -> dict[str, Tensor]:
    """The file's buffer, computed as the reference does: NCSN has none."""
    if not fixture.meta["buffers"]:
        return {}
    m = fixture.meta["model"]
    table = np.exp(np.linspace(np.log(m["sigma_begin"]), np.log(m["sigma_end"]), m["num_classes"]))
    return {"sigmas": torch.tensor(table).float()}


def prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in state.items()}


def others(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that give another output: what is in the file and must not be used."""
    return {name: value + 1 for name, value in state.items()}


def payload_of(fixture: Fixture, kind: str) -> Any:
    """The fixture's weights as a file of ``kind``; a file with averages has others as the raw ones."""
    good = fixture.weights
    raw, right = prefixed(sigmas_of(fixture) | others(good)), prefixed(sigmas_of(fixture) | good)
    optimizer: dict[str, Any] = {"state": {}, "param_groups": []}
    if kind == "original, averaged":
        return [raw, optimizer, 3, 1000, good]
    if kind == "original, not averaged":
        return [right, optimizer, 3, 1000]
    ema = {"decay": 0.999, "num_updates": 7, "shadow_params": list(good.values())}
    return {"model": raw, "ema": ema, "optimizer": optimizer, "step": 1000}


@pytest.fixture(params=["ncsn_v1", "ncsn_v2"])
def fixture(request: pytest.FixtureRequest) -> Fixture:
    return Fixture(f"ncsn/{request.param}.npz")


@pytest.mark.parametrize("kind", ["original, averaged", "original, not averaged", "score_sde"])
def test_reproduces_the_reference(fixture: Fixture, kind: str, tmp_path: Path) -> None:
    """Through a user's file; the labels come as floats, as samplers give them."""
    path = tmp_path / "checkpoint.pth"
    torch.save(payload_of(fixture, kind), path)
    network = network_of(fixture)
    load_weights(network, path)
    with torch.no_grad():
        output = network(fixture["x"], fixture["labels"].float())
    assert relative_error(output, fixture["output"]) < 1e-5


def test_raw_weights_on_request(fixture: Fixture, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(payload_of(fixture, "original, averaged"), path)
    network = network_of(fixture)
    report = load_weights(network, path, ema=False)
    expected = others(fixture.weights)["begin_conv.weight"]
    assert torch.equal(network.get_parameter("trunk.begin_conv.weight"), expected)
    assert "ema: the raw weights are used" in report.ignored


def test_a_list_with_more_than_the_authors_saved_is_none_of_theirs(fixture: Fixture) -> None:
    """What the last entry is, nobody knows."""
    payload = payload_of(fixture, "original, averaged")
    assert NCSNFamily().recognises(payload)
    assert not NCSNFamily().recognises([*payload, {}])


def test_names_follow_the_references_order(fixture: Fixture) -> None:
    """Averages and optimizer states list parameters by position, so the order is part of the format."""
    assert list(NCSNFamily().key_map(network_of(fixture)).values()) == list(fixture.weights)


def test_the_deepest_network_keeps_the_references_order() -> None:
    """refine31 is registered after refine3 and runs before it, third of all."""
    with torch.device("meta"):
        network = NCSNv2For256(channels=8)
    theirs = {theirs: ours for ours, theirs in NCSNFamily().key_map(network).items()}
    blocks = list(dict.fromkeys(name.split(".")[0] for name in theirs))
    assert blocks[3:] == [
        *("res1", "res2", "res3", "res31", "res4", "res5"),
        *("refine1", "refine2", "refine3", "refine31", "refine4", "refine5"),
    ]
    assert theirs["refine31.msf.convs.0.weight"].startswith("trunk.refine.2.")
    assert theirs["refine3.msf.convs.0.weight"].startswith("trunk.refine.3.")


def test_other_noise_levels_are_refused(tmp_path: Path) -> None:
    """They are no parameters, but with the wrong table every output is scaled wrongly."""
    fixture = Fixture("ncsn/ncsn_v2.npz")
    path = tmp_path / "checkpoint.pth"
    torch.save(payload_of(fixture, "original, averaged"), path)
    network = NCSNv2For64(channels=16, num_scales=232, sigma_max=190.0)
    with pytest.raises(ValueError, match=r"232 noise levels from 50 to 0\.01, the network has 232 from 190"):
        load_weights(network, path)


def test_averages_that_cannot_be_matched_are_refused(tmp_path: Path) -> None:
    fixture = Fixture("ncsn/ncsn_v2.npz")
    payload = payload_of(fixture, "score_sde")
    payload["ema"]["shadow_params"].pop()
    torch.save(payload, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="averages 152 parameters and its model has 153"):
        load_weights(network_of(fixture), tmp_path / "checkpoint.pth")


def test_sigma_divides_the_output() -> None:
    """score(x, i) = f(x) / sigma_i, sigma_i = sigma_max (sigma_min / sigma_max)^(i / (L - 1)): descending."""
    torch.manual_seed(0)
    network = NCSNv2For64(channels=8, sigma_max=100.0, sigma_min=0.01, num_scales=5).eval()
    x = torch.randn(1, 3, 8, 8).expand(5, -1, -1, -1)
    with torch.no_grad():
        output = network(x, torch.arange(5.0))
    scaled = output * torch.tensor([100.0, 10.0, 1.0, 0.1, 0.01]).reshape(5, 1, 1, 1)
    torch.testing.assert_close(scaled, scaled[:1].expand_as(scaled), rtol=1e-5, atol=0)


@pytest.mark.parametrize("label", [-1.0, 5.0])
def test_labels_outside_the_table_are_errors(label: float) -> None:
    """-1 would otherwise mean the smallest sigma."""
    network = NCSNv2For64(channels=8, num_scales=5)
    with pytest.raises((IndexError, RuntimeError), match="out of range"):
        network(torch.zeros(1, 3, 8, 8), torch.tensor([label]))


def instance_norm_plus(x: np.ndarray, gamma: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Song & Ermon 2019, appendix A.1, channel by channel; coefficients (C,), one sample (C, ...)."""
    means = np.array([channel.mean() for channel in x])
    spread = np.sqrt(means.var(ddof=1) + 1e-5)
    out = np.empty_like(x)
    for k, channel in enumerate(x):
        shape = (channel - means[k]) / np.sqrt(channel.var() + 1e-5)
        out[k] = gamma[k] * (shape + alpha[k] * (means[k] - means.mean()) / spread) + beta[k]
    return out


@pytest.mark.parametrize("sizes", [(6,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("num_levels", [None, 7])
def test_instance_norm_plus(sizes: tuple[int, ...], num_levels: int | None) -> None:
    """The formula in numpy, in one to three dimensions; each sample by its own level's coefficients."""
    rng = np.random.default_rng(0)
    x, levels = 2 + 3 * rng.standard_normal((3, 4, *sizes)), np.array([6, 0, 3])
    rows = rng.standard_normal((7 if num_levels else 1, 3, 4))  # by level: gamma, alpha, beta
    norm = get_normalization("InstanceNorm++", num_levels=num_levels)(4).double()
    with torch.no_grad():
        if num_levels:
            norm.get_parameter("embed.weight").copy_(torch.from_numpy(rows.reshape(7, 12)))
        else:
            for name, row in zip(("gamma", "alpha", "beta"), rows[0], strict=True):
                norm.get_parameter(name).copy_(torch.from_numpy(row))
        output = norm(torch.from_numpy(x), torch.from_numpy(levels))
    used = rows[levels] if num_levels else np.repeat(rows, 3, axis=0)
    expected = np.stack([instance_norm_plus(xi, *row) for xi, row in zip(x, used, strict=True)])
    np.testing.assert_allclose(output.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("InstanceNorm", lambda channel: (channel - channel.mean()) / np.sqrt(channel.var() + 1e-5)),
        ("VarianceNorm", lambda channel: channel / np.sqrt(channel.var(ddof=1) + 1e-5)),
        ("NoneNorm", lambda channel: channel),
    ],
)
def test_conditional_norms_scale_their_statistic(name: str, statistic: Any) -> None:
    """gamma_i * statistic + beta_i in numpy (VarianceNorm has no beta)."""
    rng = np.random.default_rng(1)
    x, levels = 1 + rng.standard_normal((2, 3, 4, 5)), np.array([4, 2])
    norm = get_normalization(name, num_levels=5)(3).double()
    weight = norm.get_parameter("embed.weight")
    rows = rng.standard_normal(tuple(weight.shape))
    with torch.no_grad():
        weight.copy_(torch.from_numpy(rows))
        output = norm(torch.from_numpy(x), torch.from_numpy(levels)).numpy()
    for b, level in enumerate(levels):
        for k in range(3):
            beta = rows[level, 3 + k] if rows.shape[1] == 6 else 0.0
            expected = rows[level, k] * statistic(x[b, k]) + beta
            np.testing.assert_allclose(output[b, k], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("model", [NCSN, NCSNv2For64, NCSNv2For128, NCSNv2For256])
def test_a_sample_does_not_depend_on_its_batch_mates(model: type[Network]) -> None:
    """Not even in training mode, and for height unequal to width."""
    torch.manual_seed(0)
    network = model(channels=8, in_channels=1)
    x, labels = torch.randn(3, 1, 16, 24), torch.tensor([0.0, 9.0, 4.0])
    together = network(x, labels)[1:2]
    assert relative_error(together, network(x[1:2], labels[1:2])) < 1e-5


@pytest.mark.parametrize("dims", [1, 3])
def test_a_map_that_varies_along_one_axis_only_is_seen_alike_in_any_dimension(dims: int) -> None:
    """Kernels along the last axis alone make each row of a 2-D map the 1-D (or 3-D) network's output."""
    torch.manual_seed(0)
    flat = NCSNv2For64(channels=8, centered=True, normalization="NoneNorm", nonlinearity="relu")
    other = NCSNv2For64(channels=8, centered=True, normalization="NoneNorm", nonlinearity="relu", dims=dims)
    with torch.no_grad():
        for mine, theirs in zip(flat.parameters(), other.parameters(), strict=True):
            if mine.dim() == 4:  # a weight that acts along the last axis alone
                line = mine[:, :, mine.shape[2] // 2].clone()
                for weight in (mine, theirs):
                    middle = [size // 2 for size in weight.shape[2:-1]]
                    weight.zero_()[(slice(None), slice(None), *middle)] = line
            else:
                theirs.copy_(mine)
        strip, labels = torch.randn(1, 3, 16), torch.tensor([200.0])
        rows = strip[:, :, None].expand(-1, -1, 4, -1)
        expected = flat(rows, labels)[:, :, 0]
        shaped = strip if dims == 1 else rows[:, :, None].expand(-1, -1, 4, -1, -1)
        output = other(shaped, labels)
    along = output if dims == 1 else output[:, :, 0, 0]
    assert relative_error(along, expected) < 1e-5


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (NCSN, (3, 32, 31), "multiple of 2, 31 is not; pad or crop to 32"),
        (NCSNv2For128, (3, 126, 128), "multiple of 4, 126 is not; pad or crop to 128"),
        (NCSNv2For256, (3, 252, 256), "multiple of 8, 252 is not; pad or crop to 256"),
        (NCSN, (1, 32, 32), "in_channels=1, dims=2"),
        (NCSN, (3, 32), "in_channels=3, dims=1"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    model: type[Network], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model(channels=8).check_shape(shape)


def test_unknown_settings_say_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"unknown normalization 'InstanceNorm\+'.*Did you mean"):
        NCSN(channels=8, normalization="InstanceNorm+")
    with pytest.raises(ValueError, match="unknown nonlinearity 'gelu'"):
        NCSN(channels=8, nonlinearity="gelu")
    with pytest.raises(ValueError, match="need 0 < sigma_min <= sigma_max"):
        NCSNv2For64(channels=8, sigma_min=1.0, sigma_max=0.01)
    with pytest.raises(ValueError, match="unknown conditioning y; this network takes none"):
        NCSN(channels=8)(torch.zeros(1, 3, 8, 8), torch.zeros(1), y=torch.zeros(1))
