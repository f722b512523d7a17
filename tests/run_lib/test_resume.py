"""Training that is killed and started again ends with the weights of one that was not, bit for bit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from run_lib.config.training import Optimisation
from run_lib.training import state
from tests.run_lib.program import ROOT, TINY, program, run

LAST = "checkpoints/step_00000006.pt"


class Kill(BaseException):
    """What no handler of the program catches."""


def contents(path: Path) -> dict[str, torch.Tensor]:
    """Weights, averages and the optimiser's moments, by name."""
    payload = torch.load(path, weights_only=True)
    tensors = {f"model.{k}": v for k, v in payload["model"].items()}
    tensors |= {f"ema.{k}": v for k, v in payload["ema"]["shadow"].items()}
    moments = payload["optimizer"]["state"]
    return tensors | {f"optimizer.{i}.{k}": v for i, held in moments.items() for k, v in held.items()}


def assert_equal(a: Path, b: Path) -> None:
    first, second = contents(a), contents(b)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def kill_at(step: int, workdir: Path, monkeypatch: pytest.MonkeyPatch, **overrides: object) -> None:
    """A run that dies in a step, between its gradients and its update."""
    whole = Optimisation.rate

    def killed(optimisation: Optimisation, at: int, n_iters: int) -> float:
        if at == step:
            raise Kill
        return whole(optimisation, at, n_iters)

    with monkeypatch.context() as patch:
        patch.setattr(Optimisation, "rate", killed)
        with pytest.raises(Kill):
            run(TINY, "train", workdir, **overrides)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps at one go, with dropout."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    run(TINY, "train", workdir)
    return workdir / LAST


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, 6))
def test_killed_at_any_step(
    step: int, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are of steps 2, 4 and 6: from step 5 the run goes back to 4, from step 1 to the
    beginning.
    """
    kill_at(step, tmp_path, monkeypatch)
    assert not (tmp_path / LAST).exists()
    resumed = run(TINY, "train", tmp_path)
    assert ("continuing from" in resumed.out) == (step >= 2)
    assert_equal(tmp_path / LAST, uninterrupted)


@pytest.mark.slow
def test_killed_with_everything_that_training_carries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times that learn from the losses, further averages, gradients added up over microbatches."""
    carried = {
        "training__sde": "ddpm",
        "training__times": "importance",
        "model__num_scales": 4,
        "model__beta_schedule": "cosine",
        "training__n_iters": 40,
        "model__ema_rates": "(0.5,)",
        "training__microbatch": 3,
        "sampling__grid": "uniform",
        "eval__enable_bpd": False,
        "sampling__predictor": "ancestral_sampling",
        "training__snapshot_freq": 40,
    }
    run(TINY, "train", tmp_path / "whole", **carried)
    kill_at(33, tmp_path / "killed", monkeypatch, **carried)
    run(TINY, "train", tmp_path / "killed", **carried)
    a, b = (tmp_path / name / "checkpoints/step_00000040.pt" for name in ("whole", "killed"))
    assert_equal(a, b)
    first, second = (torch.load(path, weights_only=True) for path in (a, b))
    assert str(first["times"]) == str(second["times"])
    averages = [held["averages"][0.5]["shadow"] for held in (first, second)]
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])
    assert any(not torch.equal(averages[0][name], first["ema"]["shadow"][name]) for name in averages[0])


def test_killed_while_saving(uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file is never the latest checkpoint: it has its name only when it is whole."""
    whole = torch.save

    def half(payload: Any, file: Any) -> None:
        if payload["step"] == 4:
            file.write(b"half a checkpoint")
            os.fsync(file.fileno())
            raise Kill
        whole(payload, file)

    with monkeypatch.context() as patch:
        patch.setattr(state.torch, "save", half)
        with pytest.raises(Kill):
            run(TINY, "train", tmp_path)
    # A kill that no code survives leaves the partial file behind.
    (tmp_path / "checkpoints/.partial-1-step_00000004.pt").write_bytes(b"half a checkpoint")
    assert [p.name for p in (tmp_path / "checkpoints").glob("step*")] == ["step_00000002.pt"]
    run(TINY, "train", tmp_path)
    assert_equal(tmp_path / LAST, uninterrupted)


@pytest.mark.slow
def test_sigkill(tmp_path: Path) -> None:
    """A process of its own, killed from outside at a moment nobody chose."""
    flags = ["--config.training.n_iters=60", "--config.training.snapshot_freq=60"]
    command = [
        sys.executable,
        "main.py",
        "--config",
        str(TINY),
        "--mode",
        "train",
        "--workdir",
        str(tmp_path / "killed"),
    ]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [*command, *flags],
        cwd=ROOT,
        env={**os.environ, **threads},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoints = tmp_path / "killed/checkpoints"
    while not list(checkpoints.glob("step*")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (checkpoints / "step_00000060.pt").exists(), "it ended before it was killed"
    assert list(checkpoints.glob("step*"))

    run(TINY, "train", tmp_path / "killed", *flags)
    run(TINY, "train", tmp_path / "whole", *flags)
    assert_equal(checkpoints / "step_00000060.pt", tmp_path / "whole/checkpoints/step_00000060.pt")


@pytest.mark.slow
def test_seed_is_used(uninterrupted: Path, tmp_path: Path) -> None:
    """The ancestor reads its seed and ignores it."""
    run(TINY, "train", tmp_path / "same", seed=42)
    run(TINY, "train", tmp_path / "other", seed=43)
    assert_equal(tmp_path / "same" / LAST, uninterrupted)
    ours, other = contents(uninterrupted), contents(tmp_path / "other" / LAST)
    random = [
        name for name in ours if name.startswith("model.") and "conv" in name and name.endswith("weight")
    ]
    assert random
    assert not any(torch.equal(ours[name], other[name]) for name in random)


def test_old_checkpoints_go(tmp_path: Path) -> None:
    """Multiples of snapshot_freq stay, and the last two; the others go."""
    run(
        TINY,
        "train",
        tmp_path,
        training__n_iters=8,
        training__snapshot_freq=4,
        training__snapshot_freq_for_preemption=1,
    )
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "step_00000004.pt",
        "step_00000007.pt",
        "step_00000008.pt",
    ]


def test_truncated_checkpoint(uninterrupted: Path, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    whole = uninterrupted.read_bytes()
    for length in (0, 1000, len(whole) // 2, len(whole) - 10):
        (checkpoints / "step_00000006.pt").write_bytes(whole[:length])
        for mode in ("train", "eval", "sample"):
            error = program("--config", TINY, "--mode", mode, "--workdir", tmp_path).error
            assert f"step_00000006.pt is truncated or no checkpoint ({length} bytes)" in error
            assert "No earlier checkpoint lies beside it: use another copy" in error


def test_checkpoint_of_another_architecture(uninterrupted: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / LAST).write_bytes(uninterrupted.read_bytes())
    command = ("--config", TINY, "--mode", "sample", "--workdir", tmp_path)
    assert "model.num_res_blocks=2 (was 1)" in program(*command, model__num_res_blocks=2).error
    outcome = program(*command, model__num_res_blocks=2, resume_anyway=True)
    assert outcome.status == 2
    error = outcome.err
    assert "another architecture" in error
    assert "missing from the file: " in error
    missing = [
        name for name in error.replace(",", " ").split() if "." in name and name.endswith(("weight", "bias"))
    ]
    assert missing, "the differing keys are listed"
    error = program(*command, model__nf=16, resume_anyway=True).err
    assert "of another shape: " in error
    assert re.search(r"\S+weight \(\d+, \d+\) in the file, \(\d+, \d+\) here", error)


def test_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    torch.save({"weights": torch.zeros(2)}, tmp_path / LAST)
    error = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path).error
    assert "is no checkpoint of ours" in error
    assert "config.init_from" in error


def flip(path: Path) -> None:
    """One bit of a weight in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.slow
def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(
    tmp_path: Path, uninterrupted: Path
) -> None:
    """To the weights of a run without damage; every other mode refuses the damaged file by its name."""
    run(TINY, "train", tmp_path)
    flip(tmp_path / LAST)
    error = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path).error
    assert str(tmp_path / LAST) in error
    assert "step_00000004.pt" in error, "what remains"
    outcome = run(TINY, "train", tmp_path)
    assert "step_00000006.pt" in outcome.err
    assert f"continuing from {tmp_path}/checkpoints/step_00000004.pt" in outcome.out
    assert (tmp_path / LAST).with_suffix(".damaged").is_file()
    assert_equal(tmp_path / LAST, uninterrupted)
    flip(tmp_path / LAST)
    flip(tmp_path / "checkpoints/step_00000004.pt")
    assert str(tmp_path / LAST) in program("--config", TINY, "--mode", "train", "--workdir", tmp_path).error
