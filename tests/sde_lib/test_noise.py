"""Random streams: which number each sample gets, and that the numbers are random.

Statistics are of fixed seeds, so a test passes always or never. Their thresholds are five standard errors,
or the 0.1 % points of Kolmogorov-Smirnov's D (1.95 / sqrt(n)) and of chi squared.
"""

from __future__ import annotations

import itertools
import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from sde_lib import Noise
from sde_lib.splitmix import mix

MASK = (1 << 64) - 1
GAMMA, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def signed(n: int) -> int:
    n &= MASK
    return n - (1 << 64) if n >> 63 else n


def splitmix(z: int) -> int:
    """SplitMix64's finaliser on unsigned integers (Steele, Lea, Flood 2014, figure 17)."""
    z &= MASK
    z = (z ^ (z >> 30)) * MIX_1 & MASK
    z = (z ^ (z >> 27)) * MIX_2 & MASK
    return z ^ (z >> 31)


def word(seed: int, index: int, draw: int, element: int) -> int:
    """Element (from 0) of a draw (from 0) of a sample."""
    sample = splitmix(splitmix(seed * GAMMA + 1) + index * GAMMA)
    return splitmix(splitmix(sample + (draw + 1) * MIX_1) + (element + 1) * GAMMA)


def test_mix_gives_splitmix64s_published_outputs() -> None:
    """The first five of seed 1234567, as the reference C code prints them."""
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    states = torch.tensor([signed(1234567 + (k + 1) * GAMMA) for k in range(5)])
    assert mix(states).tolist() == [signed(n) for n in published]


@pytest.mark.parametrize("seed", [0, 1, -5, 2**62])
def test_words_are_the_stated_function_of_seed_sample_draw_element(seed: int) -> None:
    """In unbounded integers, so that every overflow of the tensors' arithmetic is checked."""
    noise, indices = Noise(seed, [0, 3, 2**40]), (0, 3, 2**40)
    for draw in range(3):
        expected = [[signed(word(seed, i, draw, j)) for j in range(4)] for i in indices]
        assert noise.bits(4).tolist() == expected


def test_normal_is_box_muller_of_the_words() -> None:
    """sqrt(-2 log u) cos, then sin, of 2 pi v; u and v the halves of a word, centred in their cells."""
    z = Noise(7, [2], dtype=torch.float64).normal((1, 5))[0].tolist()
    words = [word(7, 2, 0, j) for j in range(3)]
    u, v = [((w >> 32) + 0.5) / 2**32 for w in words], [((w & 0xFFFFFFFF) + 0.5) / 2**32 for w in words]
    radius = [math.sqrt(-2 * math.log(a)) for a in u]
    expected = [r * math.cos(2 * math.pi * a) for r, a in zip(radius, v, strict=True)]
    expected += [r * math.sin(2 * math.pi * a) for r, a in zip(radius, v, strict=True)]
    assert z == pytest.approx(expected[:5], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kind", ["normal", "uniform", "rademacher"])
def test_a_stream_does_not_know_its_batch(kind: str) -> None:
    """Draw by draw, sample 17 is the same alone, among others, and in another order."""
    noises = Noise(3, [17]), Noise(3, range(10, 20)), Noise(3, torch.tensor([40, 17, 2]))
    for shape in [(2, 3), (7,), (2, 3)]:
        alone, among, other = (getattr(n, kind)((len(n), *shape)) for n in noises)
        assert torch.equal(alone[0], among[7])
        assert torch.equal(alone[0], other[1])


def test_precision_changes_values_by_rounding_only() -> None:
    single, double = Noise(0, range(4)), Noise(0, range(4), dtype=torch.float64)
    assert torch.allclose(single.normal((4, 100)).double(), double.normal((4, 100)), rtol=1e-7, atol=0)
    assert torch.allclose(single.uniform((4, 100)).double(), double.uniform((4, 100)), rtol=0, atol=2**-24)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_uniform_never_rounds_up_to_one(dtype: torch.dtype) -> None:
    """The largest word of all, and values of few bits: the interval is half open in every precision."""

    class Ones(Noise):
        def bits(self, count: int) -> Tensor:
            return torch.full((len(self), count), -1)

    assert Ones(0, [0], dtype=dtype).uniform((1, 1)).item() < 1
    u = Noise(0, range(8), dtype=dtype).uniform((8, 4096))
    assert u.dtype == dtype
    assert u.min() >= 0
    assert u.max() < 1


def ks(values: Tensor, law: str) -> None:
    n = values.numel()
    assert scipy.stats.kstest(values.flatten().double().numpy(), law).statistic < 1.95 / math.sqrt(n)


def test_normal_is_standard_normal() -> None:
    """Of n values: mean 1/sqrt(n), variance sqrt(2/n), third moment sqrt(15/n), fourth sqrt(96/n)."""
    z = Noise(11, range(64), dtype=torch.float64).normal((64, 4096)).flatten()
    n = len(z)
    ks(z, "norm")
    for power, expected, spread in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert (z**power).mean().item() == pytest.approx(expected, abs=5 * math.sqrt(spread / n))


def test_uniform_is_uniform() -> None:
    ks(Noise(11, range(64)).uniform((64, 4096)), "uniform")


def test_rademacher_is_a_fair_sign() -> None:
    r = Noise(11, range(64)).rademacher((64, 4096))
    assert set(r.unique().tolist()) == {-1.0, 1.0}
    assert r.mean().abs().item() < 5 / math.sqrt(r.numel())


@pytest.mark.parametrize("high", [2, 10, 1000])
def test_integers_are_uniform_on_their_range(high: int) -> None:
    counts = torch.bincount(Noise(11, range(100_000)).integers(high), minlength=high)
    assert len(counts) == high
    expected = 100_000 / high
    assert ((counts - expected) ** 2 / expected).sum() < scipy.stats.chi2.ppf(0.999, high - 1)


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[Tensor, Tensor]]:
    """Values that must be independent of each other."""
    base = Noise(5, range(64), dtype=torch.float64)
    z = base.normal((64, 4096))
    later = base.normal((64, 4096))
    reseeded = Noise(6, range(64), dtype=torch.float64).normal((64, 4096))
    return {
        "neighbouring samples": (z[:-1], z[1:]),
        "neighbouring elements": (z[:, :-1], z[:, 1:]),
        "halves of a word": (z[:, :2048], z[:, 2048:]),
        "successive draws": (z, later),
        "neighbouring seeds": (z, reseeded),
        "seed and sample exchanged": (z[1:], reseeded[:-1]),
        "draw and sample exchanged": (z[1:], later[:-1]),
    }


@pytest.mark.parametrize("power", [1, 2])
def test_streams_are_uncorrelated(pairs: dict[str, tuple[Tensor, Tensor]], power: int) -> None:
    """Values and squares: |r| of n independent pairs has standard error 1/sqrt(n)."""
    for name, (left, right) in pairs.items():
        a, b = left.flatten() ** power, right.flatten() ** power
        r = torch.corrcoef(torch.stack([a, b]))[0, 1].item()
        assert abs(r) < 5 / math.sqrt(len(a)), name


def test_no_two_words_of_neighbouring_seeds_samples_and_draws_are_equal() -> None:
    """Of 2 * 8 * 3 * 512 64-bit words two agree with probability 2e-11."""
    words = torch.cat(
        [
            n.bits(512).flatten()
            for n, _ in itertools.product([Noise(0, range(8)), Noise(1, range(8))], range(3))
        ]
    )
    assert len(words.unique()) == len(words)


def test_a_branch_has_streams_of_its_own() -> None:
    """However many draws it makes, the trunk goes on as if it had made one; and the two are uncorrelated."""
    one, many = Noise(5, range(64)), Noise(5, range(64))
    short, long = one.branch(), many.branch()
    first = short.normal((64, 1024))
    assert torch.equal(first, long.normal((64, 1024)))
    long.normal((64, 7))
    trunk = one.normal((64, 1024))
    assert torch.equal(trunk, many.normal((64, 1024)))
    for other in (trunk, Noise(5, range(64)).normal((64, 1024)), one.branch().normal((64, 1024))):
        r = torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1].item()
        assert abs(r) < 5 / math.sqrt(first.numel())


def test_wrong_batch_size_is_refused() -> None:
    with pytest.raises(ValueError, match="noise for 3 samples was asked for a batch of 4"):
        Noise(0, range(3)).normal((4, 2))
