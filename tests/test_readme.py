"""The README's examples do what the README says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models import NoiseModel, Time
from samplers import PCSampler, register_corrector, register_predictor
from sde_lib import VPSDE, Noise
from sde_lib.grids import register_grid
from tests.fixtures.score_sde_files import network_of, payload_of, save
from tests.fixtures.weights import Fixture, relative_error

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SMALL = "DDPM(image_size=16, channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(8,))"
"""The network of the fixture; the README's has the size of a published one."""


def python_block(first: str) -> str:
    """The README's Python example that begins with the given words."""
    (found,) = (b for b in re.findall(r"```python\n(.*?)```", README, re.S) if b.startswith(first))
    return str(found)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the library's example leaves, run on a small file of score_sde's format."""
    file = save(payload_of(Fixture("score_sde/ddpm.npz")), tmp_path_factory.mktemp("weights"))
    code = python_block("from models import")
    for theirs, ours in (
        ("DDPM(image_size=32)", SMALL),
        ('"checkpoint_26.pth"', repr(str(file))),
        ("(16, 3, 32, 32)", "(3, 3, 16, 16)"),
    ):
        assert code.count(theirs) == 1, f"the example has no {theirs}"
        code = code.replace(theirs, ours)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


@torch.no_grad()
def test_the_example_loads_the_averaged_weights(example: dict[str, Any]) -> None:
    """The network computes what score_sde's does with the averaged weights; the file's raw ones are others."""
    fixture = Fixture("score_sde/ddpm.npz")
    assert relative_error(example["network"](fixture["x"], fixture["labels"]), fixture["output"]) < 1e-5


def test_the_example_samples_as_the_parts_do(example: dict[str, Any]) -> None:
    """Its samples are those of UniPC on the grid log_snr, at score_sde's labels 999 t, part by part."""
    sde, network = VPSDE(), network_of(Fixture("score_sde/ddpm.npz"))
    network.load_state_dict(example["network"].state_dict())
    model = NoiseModel(network, sde, Time(sde, 999.0), "eps")
    times = register_grid["log_snr"]().times(sde, 20)
    sampler = PCSampler(model, register_predictor["unipc"](), register_corrector["none"](), times)
    expected = sampler.sample((3, 3, 16, 16), Noise(0, range(3))).x
    torch.testing.assert_close(example["images"], expected, rtol=1e-4, atol=1e-4)


def test_a_sample_is_a_function_of_the_seed_and_its_index(example: dict[str, Any]) -> None:
    sampler = PCSampler.of(example["model"], register_predictor["unipc"](), num_steps=20)
    alone: Tensor = sampler.sample((1, 3, 16, 16), Noise(0, [2])).x
    torch.testing.assert_close(example["images"][2:], alone, rtol=1e-4, atol=1e-4)
