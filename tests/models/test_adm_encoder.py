"""The noisy classifier's pools, against the same thing written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.attention import AttentionPool
from models.networks.adm_encoder import ADMEncoder

LABELS = torch.tensor([2.25, 640.5], dtype=torch.float64)
SMALL = {
    "image_size": 8,
    "in_channels": 2,
    "out_channels": 3,
    "channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "num_head_channels": 8,
    "norm_groups": 4,
}


def randomised(net: nn.Module) -> Any:
    """Double precision and no zeros: the adaptive pool's last layer starts at zero."""
    generator = torch.Generator().manual_seed(0)
    net = net.double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return net


def sample(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_heads_that_are_asked_for_win_over_the_default_width() -> None:
    """64 channels make one head of the published width; asked for four, there are four."""
    wide = {**SMALL, "channels": 64, "channel_mult": (1,), "attention_resolutions": (8,), "pool": "adaptive"}
    del wide["num_head_channels"]
    assert ADMEncoder(**wide).encoder[0].attention.heads == 1  # type: ignore[arg-type, union-attr]
    assert ADMEncoder(**wide, num_heads=4).encoder[0].attention.heads == 4  # type: ignore[arg-type, union-attr]


def test_four_heads_are_guided_diffusions() -> None:
    """From the same weights: each head has its own q, k, v and softmax, in the legacy order; one head is another
    function."""
    wide = {**SMALL, "channels": 64, "channel_mult": (1,), "attention_resolutions": (8,), "pool": "adaptive"}
    del wide["num_head_channels"]
    four, one = (randomised(ADMEncoder(**wide, num_heads=heads)).encoder[0].attention for heads in (4, None))
    one.load_state_dict(four.state_dict())
    x = sample(2, 64, 2, 3)
    four.requires_grad_(False)
    one.requires_grad_(False)
    h = F.group_norm(x, SMALL["norm_groups"], four.norm.weight, four.norm.bias)  # type: ignore[arg-type]
    qkv = torch.einsum("oc,bcn->bon", four.qkv.weight[..., 0], h.flatten(2)) + four.qkv.bias[:, None]
    outputs, width = [], 16
    for head in range(4):
        q, k, v = qkv[:, 3 * width * head : 3 * width * (head + 1)].split(width, dim=1)
        weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / width**0.5, dim=-1)
        outputs.append(torch.einsum("bts,bcs->bct", weights, v))
    joined = torch.cat(outputs, dim=1)
    out = torch.einsum("oc,bcn->bon", four.proj.weight[..., 0], joined) + four.proj.bias[:, None]
    expected = x + out.reshape(x.shape)
    torch.testing.assert_close(four(x, None), expected, rtol=1e-10, atol=1e-10)
    assert float((one(x, None) - expected).norm() / expected.norm()) > 0.05


def test_attention_pool_by_loops() -> None:
    """The mean asks, all positions and the mean answer; every head with its own softmax."""
    channels, width, n = 4, 2, 6
    pool = randomised(AttentionPool(channels=channels, out_channels=3, head_channels=width, positions=n))
    h = sample(1, channels, 2, 3)
    tokens = h[0].reshape(channels, n).numpy()
    tokens = (
        np.concatenate([tokens.mean(axis=1, keepdims=True), tokens], axis=1) + pool.position.detach().numpy()
    )
    qkv = pool.qkv.weight.detach().numpy()[:, :, 0] @ tokens + pool.qkv.bias.detach().numpy()[:, None]
    pooled = np.zeros(channels)
    for head in range(channels // width):
        q, k, v = (qkv[(start := part * channels + head * width) : start + width] for part in range(3))
        weights = np.array([math.exp(q[:, 0] @ k[:, j] / math.sqrt(width)) for j in range(n + 1)])
        pooled[head * width : (head + 1) * width] = v @ weights / weights.sum()
    expected = pool.proj.weight.detach().numpy()[:, :, 0] @ pooled + pool.proj.bias.detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(pool(h)[0].numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("pool", ["adaptive", "spatial", "spatial_v2"])
@pytest.mark.parametrize("dims", [1, 2])
def test_one_dimension_more_with_nothing_happening_along_it(pool: str, dims: int) -> None:
    """A signal repeated along a new axis, seen through kernels one wide along it, has the same logits."""
    net, larger = (randomised(ADMEncoder(**SMALL | {"pool": pool, "dims": d})) for d in (dims, dims + 1))
    with torch.no_grad():
        for source, target in zip(net.parameters(), larger.parameters(), strict=True):
            if source.shape == target.shape:
                target.copy_(source)
            else:
                target.zero_()[:, :, target.shape[2] // 2] = source
        x = sample(2, 2, *(8,) * dims)
        repeated = x.unsqueeze(2).expand(-1, -1, 4, *x.shape[2:])
        torch.testing.assert_close(larger(repeated, LABELS), net(x, LABELS), atol=1e-11, rtol=1e-11)


def test_gradient_of_a_class_is_the_guidance_direction() -> None:
    """Against central differences along a random direction: what classifier guidance will use."""
    net = randomised(ADMEncoder(**SMALL | {"pool": "attention", "use_checkpoint": True}))
    x = sample(2, 2, 8, 8).requires_grad_()
    direction = sample(4, 2, 8, 8)[2:]

    def logp(x: Tensor) -> Tensor:
        return F.log_softmax(net(x, LABELS), dim=-1)[:, 1].sum()

    (gradient,) = torch.autograd.grad(logp(x), x)
    step = 1e-5
    with torch.no_grad():
        expected = (logp(x + step * direction) - logp(x - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), expected, atol=1e-8, rtol=1e-6)


def test_the_attention_pool_accepts_its_own_size_only() -> None:
    """Its positions are learned one by one; sides may differ if the network is made so."""
    net = ADMEncoder(**SMALL | {"image_size": (4, 8), "pool": "attention"})
    net.check_shape((2, 4, 8))
    assert net(torch.zeros(2, 2, 4, 8), LABELS.float()).shape == (2, 3)
    with pytest.raises(ValueError, match=r"images of \(4, 8\) only, not \(8, 8\)"):
        net.check_shape((2, 8, 8))


def test_published_classifier_has_the_parameters_of_the_reference() -> None:
    """The 64x64 classifier of guided-diffusion, counted in the reference's own class."""
    with torch.device("meta"):
        net = ADMEncoder(image_size=64, num_res_blocks=4)
    assert sum(parameter.numel() for parameter in net.parameters()) == 65_438_568


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "max"}, "unknown pool 'max'; allowed: adaptive, attention, spatial, spatial_v2"),
        (
            {"pool": "attention", "num_heads": 2, "num_head_channels": None},
            "pool 'attention' needs num_head_channels",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    """Each is named with what is allowed."""
    with pytest.raises(ValueError, match=message):
        ADMEncoder(**SMALL | options)


def test_conditioning_is_refused() -> None:
    """A classifier is asked for the class; it is not told."""
    with pytest.raises(ValueError, match="unknown conditioning y; this network takes none"):
        ADMEncoder(**SMALL)(torch.zeros(2, 2, 8, 8), LABELS.float(), y=torch.zeros(2, dtype=torch.long))
