"""NCSN++ and DDPM++ against the ancestor's, and the settings that crash there against their definitions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from models.base import register_model
from models.checkpoints.loader import load_weights
from models.networks.ncsnpp import NCSNpp
from tests.fixtures.score_sde_files import network_of, payload_of, save
from tests.fixtures.weights import Fixture, relative_error


@pytest.mark.parametrize(
    ("fixture_name", "model"),
    [
        ("ncsnpp_ve_continuous", "ncsnpp"),
        ("ncsnpp_ve_output_skip", "ncsnpp"),
        ("ncsnpp_input_skip_cat", "ncsnpp"),
        ("ddpmpp", "ncsnpp"),
        ("ddpmpp", "ddpmpp"),
    ],
)
def test_computes_the_ancestors_function_from_its_training_file(
    fixture_name: str, model: str, tmp_path: Path
) -> None:
    """The fixture's output is the ancestor's; ``ddpmpp`` is its ncsnpp with that config's settings."""
    fixture = Fixture(f"score_sde/{fixture_name}.npz")
    network = network_of(fixture, model)
    loaded = load_weights(network, save(payload_of(fixture), tmp_path))
    assert loaded.used == len(fixture.weights)
    with torch.no_grad():
        output = network(fixture["x"], fixture["labels"])
    assert relative_error(output, fixture["output"]) < 1e-5


SKIPS = {"progressive": "output_skip", "progressive_input": "input_skip"}


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("ddpmpp", {}, 61_804_419),
        ("ddpmpp", {"num_res_blocks": 8}, 106_632_579),
        ("ncsnpp", {}, 62_758_915),
        ("ncsnpp", {"num_res_blocks": 8}, 107_587_075),
        (
            "ncsnpp",
            {"image_size": 256, "channel_mult": (1, 1, 2, 2, 2, 2, 2), "num_res_blocks": 2, **SKIPS},
            65_574_549,
        ),
        (
            "ncsnpp",
            {
                "image_size": 1024,
                "channels": 16,
                "channel_mult": (1, 2, 4, 8, 16, 32, 32, 32),
                "num_res_blocks": 1,
                **SKIPS,
            },
            105_785_896,
        ),
    ],
)
def test_published_sizes(model: str, settings: dict[str, Any], expected: int) -> None:
    """Parameters of the ancestor's configs, the frozen Fourier frequencies included."""
    with torch.device("meta"):
        network = register_model[model](**settings)
    assert sum(p.numel() for p in network.parameters()) == expected


def small(**changes: Any) -> NCSNpp:
    """Two levels, one block each, every weight random so that every path reaches the output."""
    settings = {
        "image_size": 8,
        "channels": 16,
        "channel_mult": (1, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (),
        "centered": True,
        "scale_by_sigma": False,
        "progressive_input": "none",
    }
    network = NCSNpp(**(settings | changes)).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return network


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def features(network: NCSNpp, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """What flows out of each named layer, recorded from one evaluation."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
        for name, layer in network.named_modules()
    ]
    with torch.no_grad():
        seen["output"] = network(x, labels)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("skip_rescale", [True, False])
@pytest.mark.parametrize("fir_kernel", [(1, 3, 3, 1), None])
def test_residual_output_pyramid(skip_rescale: bool, fir_kernel: tuple[float, ...] | None) -> None:
    """From recorded features: p1 = conv act norm h1 at the low level; then h0 <- (up(p1) + h0) gain, and
    the output is conv act norm h0. Crashes in the ancestor, with a filter and without."""
    network = small(progressive="residual", skip_rescale=skip_rescale, fir_kernel=fir_kernel)
    seen = features(network, draw(2, 3, 8, 8), torch.tensor([0.5, 7.0]))
    gain = math.sqrt(0.5) if skip_rescale else 1.0
    low, high = network.up[0].pyramid, network.up[1].pyramid
    start = low.conv(F.silu(low.norm(seen["up.0.attentions.1"])))
    h = (high(start) + seen["up.1.attentions.1"]) * gain
    assert network.readout is not None
    output = network.readout.conv(F.silu(network.readout.norm(h)))
    assert relative_error(seen["output"], output) < 1e-6


def test_ddpm_blocks_are_resampled_between_blocks() -> None:
    """With ``ddpm`` blocks the way up between levels is nearest neighbours, then a 3-wide convolution
    (the ancestor calls interpolate with both a size and a scale, and crashes)."""
    network = small(resblock="ddpm", fir_kernel=None)
    seen = features(network, draw(2, 3, 8, 8), torch.tensor([0.5, 7.0]))
    low = seen["up.0.attentions.1"]
    nearest = low.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    layer = network.up[0].resample.conv
    assert (
        relative_error(seen["up.0.resample"], F.conv2d(nearest, layer.weight, layer.bias, padding=1)) < 1e-6
    )


def test_without_convolution_ddpm_blocks_resample_by_mean_and_repetition() -> None:
    """``resample_with_conv`` off: cells of 2x2 are averaged on the way down, repeated on the way up."""
    network = small(resblock="ddpm", fir_kernel=None, resample_with_conv=False)
    seen = features(network, draw(2, 3, 8, 8), torch.tensor([0.5, 7.0]))
    cells = seen["down.0.attentions.0"].unflatten(3, (4, 2)).unflatten(2, (4, 2))
    torch.testing.assert_close(seen["down.0.resample"], cells.mean(dim=(3, 5)))
    low = seen["up.0.attentions.1"]
    torch.testing.assert_close(
        seen["up.0.resample"], low.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    )


def test_a_positional_network_divides_by_the_sigma_of_its_label() -> None:
    """SMLD's discrete configs: the label is an index into the descending levels. A fractional one, which
    ``sampling.chain=interpolated`` gives, is as far between their logarithms: of 5 and 0.5, halfway sqrt(2.5)."""
    plain = small(embedding="positional")
    scaled = small(embedding="positional", scale_by_sigma=True, sigmas=[50.0, 5.0, 0.5])
    x = draw(2, 3, 8, 8)
    for labels, sigmas in (([1.0, 0.0], [5.0, 50.0]), ([1.5, 2.0], [2.5**0.5, 0.5])):
        told = torch.tensor(labels)
        torch.testing.assert_close(scaled(x, told), plain(x, told) / torch.tensor(sigmas).reshape(2, 1, 1, 1))


@pytest.mark.parametrize("embedding", ["fourier", "positional"])
def test_an_unconditional_network_does_not_see_the_label(embedding: str) -> None:
    network = small(embedding=embedding, conditional=False)
    x = draw(1, 3, 8, 8)
    assert torch.equal(network(x, torch.tensor([0.5])), network(x, torch.tensor([40.0])))


def test_classes_add_to_the_time_embedding() -> None:
    """A zero class vector is the network without classes."""
    plain, classes = small(), small(num_classes=2)
    classes.load_state_dict(plain.state_dict() | {"class_embedding.table.weight": torch.zeros(2, 64)})
    x, labels = draw(1, 3, 8, 8), torch.tensor([3.0])
    torch.testing.assert_close(classes(x, labels, y=torch.tensor([1])), plain(x, labels))
    with pytest.raises(ValueError, match="got no labels"):
        classes(x, labels)


@pytest.mark.parametrize("settings", [{"progressive_input": "residual", "progressive": "residual"}, SKIPS])
def test_height_need_not_equal_width(settings: dict[str, Any]) -> None:
    """Transposing an 8x16 image and all kernels transposes the output, pyramids and filters included."""
    network = small(**settings)
    x, labels = draw(1, 3, 8, 16), torch.tensor([3.0])
    expected = network(x, labels).transpose(2, 3)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.transpose(2, 3)
    assert relative_error(network(x.transpose(2, 3), labels), expected) < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding": "furier"}, "unknown embedding 'furier'; allowed: fourier, positional"),
        ({"resblock": "adm"}, "unknown resblock 'adm'; allowed: biggan, ddpm"),
        ({"progressive": "input_skip"}, "unknown progressive 'input_skip'; allowed: none, output_skip"),
        ({"embedding": "positional", "scale_by_sigma": True}, "needs sigmas"),
        ({"fir_kernel": (1.0, -1.0)}, "at least two taps and a sum other than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)
