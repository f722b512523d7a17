"""Traces of Jacobians: exact where they claim it, unbiased where they estimate."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from likelihood.divergence import Divergence, ExactTrace, Hutchinson, HutchPlusPlus
from sde_lib import Noise

SIZE = 12
_RNG = torch.Generator().manual_seed(0)
MATRIX = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=_RNG)
POINT = torch.randn(1, 3, 4, dtype=torch.float64, generator=_RNG)


def bent(x: Tensor) -> Tensor:
    """tanh(A x), an image to an image; its Jacobian is diag(1 - tanh^2) A."""
    return torch.tanh(x.flatten(1) @ MATRIX.T).reshape(x.shape)


def jacobian() -> Tensor:
    return (1 - bent(POINT).flatten().square())[:, None] * MATRIX


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_exact_trace_is_the_trace(chunk: int) -> None:
    d = ExactTrace(chunk)
    out = d(bent, POINT, d.draw(POINT, Noise(0, range(1))))
    torch.testing.assert_close(out.trace[0, 0], jacobian().trace(), rtol=1e-13, atol=1e-13)
    assert torch.equal(out.value, bent(POINT))


ESTIMATORS = [
    Hutchinson("rademacher", 2),
    Hutchinson("gaussian", 2),
    HutchPlusPlus(rank=2, num_probes=2),
    HutchPlusPlus(rank=6, num_probes=1),
]


@pytest.mark.parametrize("divergence", ESTIMATORS, ids=str)
def test_estimates_are_unbiased(divergence: Divergence) -> None:
    count = 20000
    x = POINT.expand(count, 3, 4).contiguous()
    out = divergence(bent, x, divergence.draw(x, Noise(1, range(count), dtype=torch.float64)))
    per_stream = out.trace.mean(1)
    stderr = float(per_stream.std()) / math.sqrt(count)
    assert float(per_stream.mean()) == pytest.approx(float(jacobian().trace()), abs=4 * stderr)


@pytest.mark.parametrize(("probe", "diagonal"), [("rademacher", 0.0), ("gaussian", 2.0)])
def test_variance_is_the_known_one(probe: str, diagonal: float) -> None:
    # With S the symmetric part: 2 sum_{i != j} S_ij^2, and 2 sum_i S_ii^2 more for Gaussian probes
    # (Avron & Toledo 2011, lemmas 9 and 11). A variance from 20000 draws is known to a few per cent.
    s = (jacobian() + jacobian().T) / 2
    off = s - s.diagonal().diag()
    expected = float(2 * off.square().sum() + diagonal * s.diagonal().square().sum())
    x = POINT.expand(20000, 3, 4).contiguous()
    d = Hutchinson(probe)  # type: ignore[arg-type]
    out = d(bent, x, d.draw(x, Noise(2, range(20000), dtype=torch.float64)))
    assert float(out.trace.var()) == pytest.approx(expected, rel=0.06)


def test_hutch_plus_plus_is_exact_on_a_jacobian_of_its_rank() -> None:
    low = MATRIX[:, :3] @ MATRIX[:3, :]
    d = HutchPlusPlus(rank=3, num_probes=1)
    out = d(lambda x: (x.flatten(1) @ low.T).reshape(x.shape), POINT, d.draw(POINT, Noise(0, range(1))))
    torch.testing.assert_close(out.trace[0, 0], low.trace(), rtol=1e-10, atol=1e-10)


def test_hutch_plus_plus_varies_less_where_few_directions_carry_the_jacobian() -> None:
    # Eigenvalues 1, 1/4, 1/9, ...: equal numbers of products (2 rank + probes = 6), far less variance.
    basis = torch.linalg.qr(MATRIX).Q
    decaying = basis @ torch.arange(1.0, SIZE + 1).double().pow(-2).diag() @ basis.T
    x = POINT.expand(2000, 3, 4).contiguous()

    def variance(d: Divergence) -> float:
        probes = d.draw(x, Noise(3, range(2000), dtype=torch.float64))
        out = d(lambda y: (y.flatten(1) @ decaying).reshape(y.shape), x, probes)
        return float(out.trace.mean(1).var())

    assert variance(HutchPlusPlus(rank=2, num_probes=2)) < 0.5 * variance(Hutchinson("rademacher", 6))


def test_the_first_probe_does_not_depend_on_how_many_follow() -> None:
    x = POINT.expand(3, 3, 4)
    for kind in ("rademacher", "gaussian"):
        one = Hutchinson(kind, 1).draw(x, Noise(5, range(3)))  # type: ignore[arg-type]
        many = Hutchinson(kind, 4).draw(x, Noise(5, range(3)))  # type: ignore[arg-type]
        assert torch.equal(one[:, 0], many[:, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Hutchinson("sphere"),  # type: ignore[arg-type]
        lambda: Hutchinson(num_probes=0),
        lambda: HutchPlusPlus(rank=0),
        lambda: HutchPlusPlus(rank=12).draw(POINT, Noise(0, range(1))),
    ],
)
def test_wrong_settings_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError):
        wrong()  # type: ignore[operator]
