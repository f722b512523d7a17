"""FreeU against Fourier sums and loops written out, and in the U-Net."""

from __future__ import annotations

import cmath
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.blocks.frequency import FreeU, amplify_backbone, scale_low_frequencies
from models.networks.adm import ADM
from models.networks.adm_stages import time_features


def filtered(image: np.ndarray, scale: float, threshold: int) -> np.ndarray:
    """The authors' filter with every Fourier sum written out; image (H, W)."""
    height, width = image.shape
    result = np.zeros((height, width), dtype=complex)
    positions = list(itertools.product(range(height), range(width)))
    rows, columns = (range(-(n // 2), (n + 1) // 2) for n in (height, width))
    for k, m in itertools.product(rows, columns):
        coefficient = sum(
            image[i, j] * cmath.exp(-2j * math.pi * (k * i / height + m * j / width)) for i, j in positions
        )
        if -threshold <= k < threshold and -threshold <= m < threshold:
            coefficient *= scale
        for i, j in positions:
            result[i, j] += coefficient * cmath.exp(2j * math.pi * (k * i / height + m * j / width))
    return result.real / (height * width)


@pytest.mark.parametrize(("size", "threshold"), [((4, 6), 1), ((5, 4), 2), ((1, 3), 1)])
def test_low_frequencies_are_scaled(size: tuple[int, int], threshold: int) -> None:
    """Even, odd and single sizes against explicit sums over a centred index."""
    image = np.random.default_rng(0).standard_normal(size)
    ours = scale_low_frequencies(torch.from_numpy(image)[None, None], 0.3, threshold)[0, 0]
    np.testing.assert_allclose(ours.numpy(), filtered(image, 0.3, threshold), atol=1e-12)


def test_constant_signals_are_scaled_in_any_rank() -> None:
    """A constant is the lowest frequency alone, so it is multiplied by the scale exactly."""
    for rank in (1, 2, 3):
        h = torch.full((2, 3, *(4,) * rank), 2.0, dtype=torch.float64)
        torch.testing.assert_close(scale_low_frequencies(h, 0.25), 0.25 * h, atol=1e-14, rtol=0)


def test_backbone_is_amplified_where_it_is_strong() -> None:
    """Equations 4 and 5 with loops over positions."""
    h = np.random.default_rng(1).standard_normal((2, 5, 3, 4))
    expected = h.copy()
    for b in range(2):
        mean = h[b].mean(axis=0)
        for i, j in itertools.product(range(3), range(4)):
            alpha = (1.4 - 1) * (mean[i, j] - mean.min()) / (mean.max() - mean.min()) + 1
            for c in range(5 // 2):
                expected[b, c, i, j] *= alpha
    np.testing.assert_allclose(amplify_backbone(torch.from_numpy(h), 1.4).numpy(), expected, atol=1e-14)


def test_a_flat_backbone_is_left_alone() -> None:
    """Without structure the paper's normalisation is 0/0; the limit taken is no amplification."""
    h = torch.ones(1, 4, 3)
    assert torch.equal(amplify_backbone(h, 1.4), h)


def test_off_returns_the_very_same_tensors() -> None:
    """Factors of one cost nothing: no copy, no transform."""
    h = torch.zeros(1, 2, 4)
    off = FreeU(backbone=(), skip=(1.0,), levels=2)
    assert all(off.features(h, level) is h and off.connection(h, level) is h for level in range(2))


def unet(**options: object) -> ADM:
    torch.manual_seed(0)
    net = ADM(
        image_size=8,
        in_channels=1,
        channels=8,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(4,),
        norm_groups=4,
        **options,  # type: ignore[arg-type]
    ).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.eval()


def test_the_network_applies_it_to_the_levels_named() -> None:
    """The smallest level joins re-weighted features, the next one those it would have without FreeU."""
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([3.5, 700.0], dtype=torch.float64)
    net = unet(freeu_backbone=(1.3,), freeu_skip=(0.6,))
    with torch.no_grad():
        got = net.features(x, labels)
        emb = F.silu(net.time_embed(time_features(labels, net.channels)))
        h, skip = amplify_backbone(got.middle, 1.3), scale_low_frequencies(got.down[-1], 0.6)
        torch.testing.assert_close(net.decoder[0](torch.cat([h, skip], dim=1), emb), got.up[0])
        torch.testing.assert_close(net.decoder[2](torch.cat([got.up[1], got.down[1]], dim=1), emb), got.up[2])


def test_training_and_unit_factors_leave_the_network_unchanged() -> None:
    """FreeU is for inference: off by default, and never part of what is trained."""
    x, labels = torch.ones(1, 1, 8, 8, dtype=torch.float64), torch.tensor([10.0], dtype=torch.float64)
    plain, strong = unet(), unet(freeu_backbone=(1.5, 1.5), freeu_skip=(0.5, 0.5))
    with torch.no_grad():
        assert torch.equal(unet(freeu_backbone=(1.0,), freeu_skip=(1.0,))(x, labels), plain(x, labels))
        assert torch.equal(strong.train()(x, labels), plain(x, labels))
        assert not torch.allclose(strong.eval()(x, labels), plain(x, labels))


def test_more_factors_than_levels_are_refused() -> None:
    """They would otherwise be ignored in silence."""
    with pytest.raises(ValueError, match="freeu_skip has 3 factors, the network 2 levels"):
        unet(freeu_skip=(0.9, 0.9, 0.9))
