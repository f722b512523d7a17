"""The DDPM U-Net against the ancestor's: same function, same number of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.blocks.embeddings import sinusoidal
from models.checkpoints.loader import load_weights
from models.networks.ddpm import DDPM
from tests.fixtures.score_sde_files import network_of, payload_of, save
from tests.fixtures.weights import Fixture, relative_error


@pytest.mark.parametrize("name", ["ddpm", "ddpm_uncentered_1ch"])
def test_computes_the_ancestors_function_from_its_training_file(name: str, tmp_path: Path) -> None:
    """The fixture's output is the ancestor's, on weights that stand in the file as averages."""
    fixture = Fixture(f"score_sde/{name}.npz")
    network = network_of(fixture)
    load_weights(network, save(payload_of(fixture), tmp_path))
    with torch.no_grad():
        output = network(fixture["x"], fixture["labels"])
    assert relative_error(output, fixture["output"]) < 1e-5


@pytest.mark.parametrize(
    ("image_size", "mult", "expected"),
    [(32, (1, 2, 2, 2), 35_218_947), (256, (1, 1, 2, 2, 4, 4), 111_569_923)],
)
def test_published_sizes(image_size: int, mult: tuple[int, ...], expected: int) -> None:
    """The ancestor's CIFAR-10 and 256-pixel configs have these numbers of parameters."""
    with torch.device("meta"):
        network = DDPM(image_size=image_size, channel_mult=mult)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_attention_after_every_up_block_is_the_original_arrangement() -> None:
    """diffusers' google/ddpm-cifar10-32 has 35,746,307 parameters: two attentions of 263,680 more."""
    with torch.device("meta"):
        network = DDPM(attention_after_every_up_block=True)
    assert sum(p.numel() for p in network.parameters()) == 35_746_307


def small(**changes: object) -> DDPM:
    torch.manual_seed(0)
    settings = {"channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1, "attention_resolutions": (4,)}
    return DDPM(**{"image_size": 8, **settings, **changes}).eval()  # type: ignore[arg-type]


def randomised(network: DDPM) -> DDPM:
    """Weights away from the silent start, so that every path reaches the output."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def test_starts_silent() -> None:
    """The output convolution starts at scale 1e-10: |w| <= sqrt(3e-10 / fan), so outputs below 1e-3."""
    network = small()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    assert network(x, torch.tensor([3.0, 500.0])).abs().max() < 1e-3


def test_a_volume_of_equal_slices_is_its_slice() -> None:
    """A volume constant along its third axis, with kernels of which only the middle slice is
    non-zero, is the flat image in every slice: the 2-D network is the oracle of the 3-D one."""
    flat = randomised(small(attention_resolutions=()))
    deep = small(attention_resolutions=(), image_size=(8, 8, 8))
    # Attention in the middle would see eight copies of each position: the softmax does not care.
    for source, target in zip(flat.parameters(), deep.parameters(), strict=True):
        if source.shape == target.shape:
            target.data.copy_(source.data)
        else:
            target.data.zero_()
            # The strided convolutions pad behind only, so their first tap sits on the position itself.
            strided = source is flat.down[0].resample.conv.weight  # type: ignore[union-attr]
            target.data[..., 0 if strided else 1] = source.data
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([10.0, 900.0])
    with torch.no_grad():
        expected = flat(x, labels)
        volume = deep(x[..., None].expand(2, 3, 8, 8, 8), labels)
    for position in range(8):
        assert relative_error(volume[..., position], expected) < 1e-5


def test_height_need_not_equal_width() -> None:
    """Transposing an 8x16 image and all kernels transposes the output."""
    network = randomised(small())
    x = torch.randn(1, 3, 8, 16, generator=torch.Generator().manual_seed(4))
    labels = torch.tensor([77.0])
    with torch.no_grad():
        expected = network(x, labels).transpose(2, 3)
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.transpose(2, 3)
        output = network(x.transpose(2, 3), labels)
    assert relative_error(output, expected) < 1e-5


def test_sigma_scaling_divides_by_the_level_of_the_label() -> None:
    """With SMLD's levels 50, 5, 0.5 the network's output is the unscaled one over that of its index."""
    plain = randomised(small())
    scaled = small(scale_by_sigma=True, sigmas=[50.0, 5.0, 0.5])
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    labels = torch.tensor([2.0, 0.0, 1.0])
    expected = plain(x, labels) / torch.tensor([0.5, 50.0, 5.0])[:, None, None, None]
    torch.testing.assert_close(scaled(x, labels), expected)


def test_a_zero_class_embedding_is_the_network_without_classes() -> None:
    """The class vector is added to the time embedding: zero changes nothing, another vector does."""
    plain = randomised(small())
    classes = small(num_classes=3)
    classes.load_state_dict(plain.state_dict() | {"class_embedding.table.weight": torch.eye(3, 128)})
    classes.class_embedding.table.weight.data[1] = 0.0  # type: ignore[union-attr]
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    labels = torch.tensor([5.0])
    torch.testing.assert_close(classes(x, labels, y=torch.tensor([1])), plain(x, labels))
    assert relative_error(classes(x, labels, y=torch.tensor([2])), plain(x, labels)) > 1e-3


def test_an_unconditional_network_does_not_see_the_label() -> None:
    """The ancestor's cifar10_unconditional does not build; here the label has no influence."""
    network = randomised(small(conditional=False))
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    assert torch.equal(network(x, torch.tensor([1.0])), network(x, torch.tensor([999.0])))


def test_sinusoidal_embedding_by_hand() -> None:
    """Four dimensions: frequencies 1 and 1/10000; sines first."""
    angle = torch.tensor(2.5, dtype=torch.float64)
    expected = torch.stack([angle.sin(), (angle / 1e4).sin(), angle.cos(), (angle / 1e4).cos()])
    torch.testing.assert_close(sinusoidal(angle[None], 4)[0], expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 12, 10), "size 10 does not divide by 4.*nearest 8 or 12"),
        ((3, 2, 8), "size 2 .*nearest 4"),
        ((1, 8, 8), "has 1 channels; this network takes 3"),
        ((3, 8), "has 1 spatial axes; this network has 2"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    network = small(channel_mult=(1, 1, 1))
    network.check_shape((3, 8, 16))
    with pytest.raises(ValueError, match=message):
        network.check_shape(shape)


def test_class_labels_that_do_not_fit_are_refused() -> None:
    network = small(num_classes=3)
    x, labels = torch.zeros(1, 3, 8, 8), torch.zeros(1)
    with pytest.raises(ValueError, match=r"class-conditional .3 classes. and got no labels"):
        network(x, labels)
    with pytest.raises(ValueError, match="from 3 to 3; allowed are integers from 0 to 2"):
        network.check_classes(torch.tensor([3]))
    with pytest.raises(ValueError, match="knows no classes"):
        small().check_classes(torch.tensor([1]))
    with pytest.raises(ValueError, match="knows no classes"):
        small()(x, labels, y=torch.tensor([1]))
    with pytest.raises(ValueError, match="unknown conditioning mask; this network takes y"):
        small()(x, labels, mask=x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale_by_sigma": True}, "scale_by_sigma needs sigmas"),
        ({"nonlinearity": "gelu"}, "unknown nonlinearity 'gelu'; allowed: elu, lrelu, relu, swish"),
        ({"image_size": (8, 8, 8, 8)}, "is not a size"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_heads_that_do_not_divide_a_level() -> None:
    with pytest.raises(ValueError, match="64 channels do not divide into attention heads of 24"):
        small(head_channels=24, attention_resolutions=())
