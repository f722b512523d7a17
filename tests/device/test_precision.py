"""Precision and seeds: TF32 by the configuration alone, learned variances in half precision, seeds of any size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from configs.base import get_config
from models.prediction.variances import LearnedVariance
from run_lib.computing.numerics import Arithmetic, in_float32
from run_lib.config.placing import build_placement
from run_lib.seeds import Use, step_seed
from tests.run_lib.program import GAUSSIAN, TINY, run


@pytest.fixture
def flags() -> Iterator[None]:
    """torch's own, put back afterwards."""
    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolutions.allow_tf32
    yield
    matmul.allow_tf32, convolutions.allow_tf32 = before


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_products_are_rounded_only_where_the_configuration_says_so(precision: str) -> None:
    """torch alone rounds convolutions and not products; each work on a GPU has both as its precision says."""
    config = get_config()
    config.device, config.sampling.precision = "cpu", precision
    placement, wanted = build_placement(config), precision == "tf32"
    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    matmul.allow_tf32 = convolutions.allow_tf32 = not wanted
    with placement.sampling.used():
        assert matmul.allow_tf32 is convolutions.allow_tf32 is wanted
        with in_float32():
            assert matmul.allow_tf32 is convolutions.allow_tf32 is False
        with placement.training.used():
            assert matmul.allow_tf32 is convolutions.allow_tf32 is False
        assert matmul.allow_tf32 is convolutions.allow_tf32 is wanted
    assert matmul.allow_tf32 is convolutions.allow_tf32 is not wanted


def test_the_default_is_float32() -> None:
    config = get_config()
    assert {section.precision for section in (config.training, config.sampling, config.eval)} == {"float32"}
    assert Arithmetic("tf32").on(torch.device("cuda:1")) == "TF32 on cuda:1"
    assert Arithmetic("tf32").on(torch.device("cpu")) == "float32 on cpu"


def test_a_report_says_in_what_arithmetic(tmp_path: Path) -> None:
    out = run(GAUSSIAN, "eval", tmp_path, eval__enable_loss=True, device="cpu").out
    (number,) = json.loads((tmp_path / "eval" / "report.json").read_text())["numbers"][:1]
    assert number["arithmetic"] == "float32 on cpu"
    assert "in float32 on cpu" in out


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_learned_variances_of_a_network_in_half_precision(precision: torch.dtype) -> None:
    """log Sigma = w log beta + (1 - w) log beta-tilde, w = (v + 1) / 2, in the bounds' precision."""
    v = torch.tensor([[-1.0, 0.0, 0.5, 1.0]])
    low, high = torch.tensor([[-4.0]]), torch.tensor([[-2.0]])
    found = LearnedVariance(v.to(precision), "learned_range").log_variance(low, high)
    assert found.dtype == torch.float32
    assert found.tolist() == [[-4.0, -3.0, -2.5, -2.0]]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_of_learned_variances_in_half_precision(precision: str, tmp_path: Path) -> None:
    run(TINY, "train", tmp_path, device="cpu", training__sde="ddpm", training__continuous=False,
        model__variance="learned_range", sampling__predictor="ancestral_sampling", training__n_iters=1,
        training__precision=precision, training__batch_size=2, data__uniform_dequantization=False)  # fmt: skip


def test_the_largest_seed_trains() -> None:
    """torch takes 64 bits: of a product that is longer the lowest count, and shorter ones are what they were."""
    largest = step_seed(2**40 - 1, Use.TRAINING, 10**9)
    torch.manual_seed(largest)
    assert largest == (((2**40 - 1) * 1000 + 1) * 1_000_003 + 10**9) % 2**64
    assert step_seed(42, Use.TRAINING, 7) == 42_001 * 1_000_003 + 7
