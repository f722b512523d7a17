"""Training in 16 bits: float32 master weights, and gradients near those of float32, learned variances included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.prediction.variances import LearnedVariance, VarianceOutput
from tests.run_lib.program import TINY, run
from tests.run_lib.test_tasks import CHAIN, gradient

LEARNED: dict[str, Any] = {
    **CHAIN, "model__dropout": 0.0, "model__output": "eps", "training__objective": "hybrid",
}  # fmt: skip
HALF: dict[str, dict[str, Any]] = {
    "bfloat16": {"training__precision": "bfloat16"},
    "float16": {"training__precision": "float16", "training__loss_scale": 5.0},
}


def tensors(held: Any) -> Iterator[Tensor]:
    if isinstance(held, Tensor):
        yield held
    for part in held.values() if isinstance(held, dict) else held if isinstance(held, list) else ():
        yield from tensors(part)


@pytest.mark.parametrize("variance", ["learned", "learned_range"])
@pytest.mark.parametrize("precision", HALF)
def test_gradients_of_learned_variances(precision: str, variance: str) -> None:
    """bfloat16 rounds to 2^-9 and float16 to 2^-12 of each value; the whole gradient is off by a few of these."""
    fields = {**LEARNED, "model__variance": variance}
    single, half = gradient(fields), gradient(fields, **HALF[precision])
    off = 0.01 if precision == "bfloat16" else 0.002
    assert 0 < float((half - single).norm() / single.norm()) < off


@pytest.mark.slow
@pytest.mark.parametrize("precision", HALF)
def test_weights_averages_and_moments_stay_in_single_precision(precision: str, tmp_path: Path) -> None:
    fields = {**LEARNED, **HALF[precision], "model__variance": "learned", "model__ema_stds": "(0.05,0.10)"}
    fields |= {"eval__enable_bpd": False, "training__n_iters": 2, "optim__lr": 1e-6}
    run(TINY, "train", tmp_path, **fields)
    held = torch.load(tmp_path / "checkpoints/step_00000002.pt", weights_only=True)
    parts = ("model", "ema", "averages", "profiles", "optimizer")
    kinds = {part: {v.dtype for v in tensors(held[part]) if v.is_floating_point()} for part in parts}
    assert all(found <= {torch.float32} for found in kinds.values()), kinds
    # Steps of 1e-6 are lost beside a weight of 0.1 in 16 bits, whose last bit is worth 5e-4 or 6e-5.
    moved = [(held["model"][k] - v).abs().max() for k, v in held["ema"]["shadow"].items()]
    assert 0 < float(torch.stack(moved).max()) < 1e-5


@pytest.mark.parametrize("kind", ["learned", "learned_range"])
def test_variances_are_in_the_states_precision(kind: VarianceOutput) -> None:
    values, bound = torch.full((2, 3), 0.3, dtype=torch.bfloat16), torch.zeros(2, 1)
    assert LearnedVariance(values, kind).log_variance(bound, bound + 1).dtype == torch.float32
