"""``--mode check``: what a training takes, measured; nothing is left."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from run_lib.config.settings import TrainSettings
from run_lib.sample import LostSamplesError
from run_lib.training import check as checking
from run_lib.training.check import most_kept
from run_lib.training.room import MOST, extrapolated, largest, peak
from sde_lib.words import amount, duration
from tests.run_lib.program import TINY, program, run


@pytest.mark.parametrize("most", [0, 1, 7, 8, 9, 1000, MOST])
@pytest.mark.parametrize("first", [1, 8, 48])
def test_largest(most: int, first: int) -> None:
    """By doubling and bisection, as few tries as these need."""
    tried: list[int] = []

    def fits(count: int) -> bool:
        tried.append(count)
        return count <= most

    assert largest(fits, first) == most
    assert len(tried) == len(set(tried)) <= 2 * MOST.bit_length() + 2


def test_extrapolated() -> None:
    """Bytes 100 + 3 n: with 1000 free, n = 300; nothing follows from sizes that take the same."""
    assert extrapolated((10, 130), (20, 160), 1000) == 300
    assert extrapolated((10, 130), (20, 130), 1000) is None
    assert extrapolated((10, 130), (20, 160), 10**9) == MOST


def test_peak() -> None:
    """Of a tensor of 64 MiB that is gone again, to within what the interpreter takes and the kernel counts late."""
    found = peak(torch.device("cpu"), lambda: torch.ones(2**24).sum().item() and None)
    assert 60 * 2**20 <= found < 72 * 2**20


def test_checkpoints_that_are_there(tmp_path: Path) -> None:
    """Of those after 10, 20, ... 100, those of 50 and 100 stay, of the others three, and the one being written."""
    settings = TrainSettings(
        n_iters=100, batch_size=1, accumulate=1, microbatch=0, shard=False, log_freq=1, eval_freq=1, snapshot_freq=50,
        snapshot_freq_for_preemption=10, keep_last=3, keep_best=False, ema_snapshot_freq=0, max_nonfinite=1,
    )  # fmt: skip
    assert most_kept(settings, 0) == 2 + 3 + 1
    assert most_kept(settings, 50) == 1 + 3 + 1
    assert most_kept(settings, 90) == 1


def test_words() -> None:
    assert [duration(s) for s in (0.0123, 5.04, 59, 61, 3700, 100_000)] == [
        "0.012 s", "5 s", "59 s", "1 min 1 s", "1 h 2 min", "1 d 4 h"
    ]  # fmt: skip
    assert [amount(b) for b in (512, 2048, 3.5 * 2**20, 2**50)] == [
        "512 bytes",
        "2 KiB",
        "3.5 MiB",
        "1024 TiB",
    ]


def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part has its line; the whole is its steps' time and what else was counted; no file is there."""
    monkeypatch.setattr(checking, "_room", lambda *_: None)
    said = run(TINY, "check", tmp_path, training__snapshot_sampling=True, training__n_iters=1000).out
    heads = [line.split()[0] for line in said.splitlines() if not line.startswith("digits,")]
    assert heads == ["batch", "step", "checkpoint", "held-out", "sample", "training"]
    assert re.search(
        r"^training     1000 steps in about .*: .* of steps, .* of checkpoints, .* of pictures$", said, re.M
    )
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_check_meets_what_training_would(tmp_path: Path) -> None:
    """The same line, the same status."""
    errors = {
        program(
            "--config",
            TINY,
            "--mode",
            mode,
            "--workdir",
            tmp_path,
            data__dataset="folder",
            data__root="nowhere",
        ).error
        for mode in ("check", "train")
    }
    assert len(errors) == 1 and "nowhere" in errors.pop()


def test_lost_samples_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are to a training, whose weights may be no good yet."""

    def lost(plan: object, indices: range, use: object) -> None:
        raise LostSamplesError(indices)

    monkeypatch.setattr(checking, "_room", lambda *_: None)
    monkeypatch.setattr(checking, "draw", lost)
    outcome = run(TINY, "check", tmp_path, training__snapshot_sampling=True)
    assert "no picture of samples yet: 1 sample is lost" in outcome.err
    assert "\ntraining     6 steps in about" in outcome.out


def test_nothing_is_left_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a training that has gone beyond ``n_iters``."""
    monkeypatch.setattr(checking, "_room", lambda *_: None)
    run(TINY, "train", tmp_path)
    out = run(TINY, "check", tmp_path, training__n_iters=4).out
    assert out.endswith("training     0 steps in about 0 s: there is nothing left to do\n")
