"""What runs without a GPU runs on one too, where there is one, and its numbers are the CPU's to rounding."""

from __future__ import annotations

import pytest
import torch

from sde_lib import Noise
from tests.device.subjects import Work
from tests.device.test_elsewhere import WORKS
from tests.devices import CUDA

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
SEARCHES = ("tune.", "adaptive_sde", "variational dequantisation")
"""Whose way depends on comparisons of rounded numbers: they run, and end with finite numbers."""


@pytest.mark.parametrize("name", list(WORKS))
def test_the_numbers_are_those_of_the_cpu_to_rounding(name: str) -> None:
    work: Work = WORKS[name]
    found = work(CUDA)
    assert found.device.type == "cuda"
    assert bool(found.isfinite().all())
    if not name.startswith(SEARCHES):
        torch.testing.assert_close(found.cpu(), work(torch.device("cpu")), rtol=2e-3, atol=2e-3)


def test_streams_of_noise() -> None:
    """Words, uniform numbers and signs are the same bits on every device; normal ones agree to rounding."""
    there, here = (Noise(7, range(5), device) for device in ("cuda", "cpu"))
    for draw in ("uniform", "rademacher"):
        assert torch.equal(getattr(there, draw)((5, 33)).cpu(), getattr(here, draw)((5, 33)))
    assert torch.equal(there.bits(9).cpu(), here.bits(9))
    assert torch.equal(there.integers(10**6).cpu(), here.integers(10**6))
    torch.testing.assert_close(there.normal((5, 33)).cpu(), here.normal((5, 33)), rtol=1e-6, atol=1e-6)
