"""The ADM U-Net beyond its published files: ranks, options, errors, against independent constructions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.attention import multihead_attention
from models.blocks.resample import TransposedUpsample
from models.networks.adm import ADM, ADMSuperRes, UNet
from models.networks.adm_stages import time_features

LABELS = torch.tensor([2.25, 640.5], dtype=torch.float64)
SMALL = {
    "image_size": 8,
    "in_channels": 2,
    "channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "norm_groups": 4,
    "num_heads": 2,
}


def randomised(net: nn.Module) -> Any:
    """Double precision and no zeros: a fresh network outputs zero whatever its body does."""
    generator = torch.Generator().manual_seed(0)
    net = net.double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return net


def small(**options: Any) -> ADM:
    return randomised(ADM(**SMALL | options))


def sample(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# Ranks ----------------------------------------------------------------------------------------------


def lifted(net: nn.Module, larger: nn.Module) -> nn.Module:
    """Give ``larger``, of one spatial axis more, kernels that act along the old axes only.

    A kernel of size 1 or 3 sits in the middle of the new axis. The transposed kernel of size 4 sits on
    rows 1 and 2: of the rows of its output, the even ones receive their inputs through rows 1 and 3,
    the odd ones through 0 and 2, so that each output row sees its input row once.
    """
    with torch.no_grad():
        for (_, source), (_, target) in zip(net.named_parameters(), larger.named_parameters(), strict=True):
            if source.shape == target.shape:
                target.copy_(source)
                continue
            target.zero_()
            for row in {1: (0,), 3: (1,), 4: (1, 2)}[target.shape[2]]:
                target[:, :, row] = source
    return larger


RESAMPLING = {
    "convolutions": {},
    "averages": {"conv_resample": False},
    "residual blocks": {"resblock_updown": True},
    "transposed": {"upsample": "transposed"},
}


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("name", RESAMPLING)
def test_one_dimension_more_with_nothing_happening_along_it(dims: int, name: str) -> None:
    """On a signal repeated along a new axis, with kernels one wide along it, nothing changes.

    Normalisation sees the same mean and variance, attention the same positions several times over.
    """
    net = small(dims=dims, **RESAMPLING[name])
    larger = lifted(net, small(dims=dims + 1, **RESAMPLING[name]))
    x = sample(2, 2, *(8,) * dims)
    repeated = x.unsqueeze(2).expand(-1, -1, 4, *x.shape[2:])
    with torch.no_grad():
        expected = net(x, LABELS).unsqueeze(2).expand_as(repeated)
        torch.testing.assert_close(larger(repeated, LABELS), expected, atol=1e-11, rtol=1e-11)


def test_height_and_width_are_treated_alike_and_need_not_be_equal() -> None:
    """A network with all its kernels transposed maps the transposed image to the transposed output."""
    net, turned = small(), small()
    with torch.no_grad():
        for parameter, other in zip(net.parameters(), turned.parameters(), strict=True):
            other.copy_(parameter.transpose(2, 3) if parameter.ndim == 4 else parameter)
        x = sample(2, 2, 8, 12)
        torch.testing.assert_close(turned(x.transpose(2, 3), LABELS), net(x, LABELS).transpose(2, 3))


# Parts ----------------------------------------------------------------------------------------------


def test_transposed_convolution_is_zero_stuffing_and_a_convolution() -> None:
    """Up-sampled length 2n: values at even places, zeros between, then the flipped kernel slides over."""
    layer = randomised(TransposedUpsample(2, channels=2))
    kernel, bias = layer.deconv.weight.detach().numpy(), layer.deconv.bias.detach().numpy()
    x = sample(1, 2, 3, 4)
    stuffed = np.zeros((2, 2 * 3 + 4, 2 * 4 + 4))
    stuffed[:, 2:8:2, 2:10:2] = x[0].numpy()
    expected = np.zeros((2, 6, 8))
    for out, i, j in itertools.product(range(2), range(6), range(8)):
        window = stuffed[:, i : i + 4, j : j + 4]
        expected[out, i, j] = (window * kernel[:, out, ::-1, ::-1]).sum() + bias[out]
    with torch.no_grad():
        np.testing.assert_allclose(layer(x, x)[0].numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("heads_first", [True, False])
def test_attention_by_loops(heads_first: bool) -> None:
    """Both orders of the 3C channels, with every head's q, k and v picked out one by one."""
    heads, width, length = 2, 3, 5
    qkv = sample(1, length, 3 * heads * width)
    table = qkv[0].numpy()
    expected = np.zeros((length, heads * width))
    for head in range(heads):
        blocks = [head * 3 + part if heads_first else part * heads + head for part in range(3)]
        q, k, v = (table[:, block * width : (block + 1) * width] for block in blocks)
        for i in range(length):
            weights = np.array([math.exp(q[i] @ k[j] / math.sqrt(width)) for j in range(length)])
            expected[i, head * width : (head + 1) * width] = weights @ v / weights.sum()
    ours = multihead_attention(qkv, heads, heads_first=heads_first)
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-13)


def test_fractional_labels_are_embedded_unrounded() -> None:
    """cos, then sin, of label * 10000^(-i/half); an odd size ends with a zero."""
    half = 3
    expected = [
        [fn(label * 10000 ** (-i / half)) for fn in (math.cos, math.sin) for i in range(half)] + [0.0]
        for label in LABELS.tolist()
    ]
    np.testing.assert_allclose(time_features(LABELS, 7).numpy(), expected, atol=1e-12)


def test_integer_and_half_precision_labels_are_embedded_in_single_precision() -> None:
    """In half precision 999 and 1000 would be told apart by their rounding only."""
    exact = time_features(torch.tensor([999.0]), 8)
    assert torch.equal(time_features(torch.tensor([999]), 8), exact)
    assert time_features(torch.tensor([999.0]).half(), 8).dtype == torch.float32


# The network ----------------------------------------------------------------------------------------


def test_a_fresh_network_outputs_zero() -> None:
    """Its last convolution starts at zero, and so does every residual branch."""
    net = ADM(**SMALL)
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(x, LABELS.float()), torch.zeros_like(x))
    assert all(
        torch.equal(stage.res.conv2.weight, torch.zeros_like(stage.res.conv2.weight)) for stage in net.decoder
    )


def test_checkpointing_changes_no_gradient() -> None:
    """The same operations are done again, with the same dropout masks."""
    gradients = []
    for use_checkpoint in (False, True):
        net = small(dropout=0.5, use_checkpoint=use_checkpoint).train()
        x = sample(2, 2, 8, 8).requires_grad_()
        torch.manual_seed(0)
        net(x, LABELS).square().sum().backward()
        gradients.append([x.grad, *(parameter.grad for parameter in net.parameters())])
    assert all(torch.equal(plain, recomputed) for plain, recomputed in zip(*gradients, strict=True))


def test_learned_variances_are_further_channels() -> None:
    """The first channels do not depend on whether more are asked for."""
    net, more = small(), small(out_channels=4)
    with torch.no_grad():
        more.load_state_dict(
            net.state_dict() | {k: v for k, v in more.state_dict().items() if "conv_out" in k}
        )
        more.conv_out.weight[:2], more.conv_out.bias[:2] = net.conv_out.weight, net.conv_out.bias
        x = sample(2, 2, 8, 8)
        output = more(x, LABELS)
        assert output.shape[1] == 4
        torch.testing.assert_close(output[:, :2], net(x, LABELS))


def test_features_lead_to_the_output() -> None:
    """The last decoder feature, normalised, activated and convolved, is the output; one feature per stage."""
    net = small()
    x = sample(2, 2, 8, 8)
    with torch.no_grad():
        features = net.features(x, LABELS)
        torch.testing.assert_close(net.conv_out(F.silu(net.norm_out(features.up[-1]))), net(x, LABELS))
        # conv_in, and per level its blocks and the way down; the decoder mirrors them.
        assert (len(features.down), len(features.up)) == (4, 4)
        torch.testing.assert_close(features.down[0], net.conv_in(x))


def test_super_resolution_joins_the_linearly_interpolated_image() -> None:
    """In one dimension by hand: a ramp of pixel centres, held constant beyond the outer ones."""
    net = randomised(ADMSuperRes(**SMALL | {"dims": 1, "in_channels": 1}))
    plain = small(dims=1, in_channels=2, out_channels=1)
    plain.load_state_dict(net.state_dict())
    x, low = sample(2, 1, 8), torch.tensor([[[0.0, 4.0, 8.0, 4.0]]], dtype=torch.float64).repeat(2, 1, 1)
    enlarged = torch.tensor([0.0, 1.0, 3.0, 5.0, 7.0, 7.0, 5.0, 4.0], dtype=torch.float64).expand(2, 1, 8)
    with torch.no_grad():
        expected = plain(torch.cat([x, enlarged], dim=1), LABELS)
        torch.testing.assert_close(net(x, LABELS, low_res=low), expected)


def test_heads_of_the_decoder_can_differ() -> None:
    """num_heads_upsample is for the decoder alone; a set head width overrides both."""
    net = small(num_heads=2, num_heads_upsample=4)
    assert (net.encoder[2].attention.heads, net.middle.attention.heads, net.decoder[0].attention.heads) == (
        2,
        2,
        4,
    )
    assert small(num_heads_upsample=4, num_head_channels=2).decoder[0].attention.heads == 16 // 2


PUBLISHED = {
    "guided-diffusion 64x64": (
        295_904_454,
        {
            "image_size": 64,
            "channels": 192,
            "channel_mult": (1, 2, 3, 4),
            "num_res_blocks": 3,
            "num_classes": 1000,
        },
    ),
    "guided-diffusion 256x256 unconditional": (
        552_814_086,
        {"image_size": 256, "channels": 256, "channel_mult": (1, 1, 2, 2, 4, 4)},
    ),
    "guided-diffusion 512x512": (
        558_997_638,
        {"image_size": 512, "channels": 256, "channel_mult": (0.5, 1, 1, 2, 2, 4, 4), "num_classes": 1000},
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_of_published_networks(name: str) -> None:
    """Counted by building the reference's own classes with the flags of its README."""
    expected, options = PUBLISHED[name]
    with torch.device("meta"):
        net = ADM(
            out_channels=6,
            attention_resolutions=(32, 16, 8),
            num_head_channels=64,
            resblock_updown=True,
            **options,
        )
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


@pytest.mark.slow
def test_one_graph_without_breaks() -> None:
    """No branch depends on a tensor's values, so the compiler sees the whole network at once."""
    net = small()
    x = sample(2, 2, 8, 8)
    with torch.no_grad():
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x, LABELS), net(x, LABELS))


# Errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm_groups": 32}, "8 channels cannot be normalised in 32 groups"),
        ({"num_heads": 3}, "16 channels do not divide into 3 attention heads"),
        ({"num_head_channels": 5}, "16 channels do not divide into heads of num_head_channels=5"),
        (
            {"attention_resolutions": (4, 3)},
            r"attention_resolutions \[3\] are the size of no level.*\[8, 4\]",
        ),
        ({"dims": 4}, "samples of 4 spatial axes: this network has 1, 2 or 3"),
        ({"upsample": "bilinear"}, "unknown upsample 'bilinear'; allowed: 'nearest', 'transposed'"),
        (
            {"upsample": "transposed", "resblock_updown": True},
            "needs conv_resample=True and resblock_updown=False",
        ),
        ({"image_size": 9}, r"\(9, 9\) does not divide by \(2, 2\)"),
        ({"image_size": (8, 8, 8)}, "has 3 sizes, the network dims=2"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    """Each is named with what is allowed, when the network is built."""
    with pytest.raises(ValueError, match=message):
        ADM(**SMALL | options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 8, 7), r"\(8, 7\) does not divide by \(2, 2\)"),
        ((3, 8, 8), "3 channels, the network in_channels=2"),
        ((2, 8), "1 spatial axes, the network dims=2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    """Before a run, rather than by a failing concatenation inside the network."""
    with pytest.raises(ValueError, match=message):
        ADM(**SMALL).check_shape(shape)


def test_shapes_that_fit_are_accepted() -> None:
    """Unequal sides; in three dimensions the first axis is never halved and may be odd."""
    ADM(**SMALL).check_shape((2, 4, 10))
    ADM(**SMALL | {"dims": 3}).check_shape((2, 5, 4, 10))


@pytest.mark.parametrize(
    ("make", "cond", "message"),
    [
        (ADM, {"y": torch.zeros(2, dtype=torch.long)}, "network without classes"),
        (ADM, {"text": torch.zeros(2)}, "unknown conditioning text; this network takes y"),
        (ADMSuperRes, {}, "needs low_res .* got none"),
        (ADMSuperRes, {"low_res": torch.zeros(1, 2, 4, 4)}, r"\(2, 2\); got \(1, 2, 4, 4\)"),
    ],
)
def test_conditioning_that_does_not_fit_is_refused(
    make: type[UNet], cond: dict[str, Tensor], message: str
) -> None:
    """Nothing that a user passes is ignored, nothing that the network needs is made up."""
    with pytest.raises(ValueError, match=message):
        make(**SMALL)(torch.zeros(2, 2, 8, 8), torch.zeros(2), **cond)


def test_class_labels_are_needed_where_there_are_classes() -> None:
    """One per sample."""
    net = ADM(**SMALL | {"num_classes": 10})
    with pytest.raises(ValueError, match=r"10 classes needs one class label per sample.*got none"):
        net(torch.zeros(2, 2, 8, 8), torch.zeros(2))
