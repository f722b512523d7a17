"""``--mode describe``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_lib.program import program

# ml_collections reads a configuration by a deprecated call of Python's.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def test_table_of_a_configuration(tmp_path: Path) -> None:
    """DDPM on CIFAR-10 has 35,218,947 parameters (score_sde's own count); its GFLOP are those of the sum of
    its layers, which tests/models/test_describe.py checks."""
    found = program("--config", "configs/ddpm/cifar10.py", "--mode", "describe", "--workdir", tmp_path)
    assert found.status == 0, found.err
    *_, total = found.out.strip().splitlines()
    assert total.split()[:2] == ["total", "35,218,947"]
    assert float(total.split()[2].replace(",", "")) > 10


def test_upsampler_needs_its_low_resolution_image(tmp_path: Path) -> None:
    """311,795,910 parameters (guided-diffusion's flags), on the meta device: no gigabyte is taken."""
    config = "configs/adm/imagenet_64_256_upsampler.py"
    found = program("--config", config, "--mode", "describe", "--workdir", tmp_path)
    assert found.status == 0, found.err
    assert found.out.strip().splitlines()[-1].split()[1] == "311,795,910"
