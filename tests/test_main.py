"""The program from its command line: modes, work directories, and the command that must run as printed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from run_lib.config.command_line import default_workdir
from run_lib.output import progress
from tests.run_lib.cifar import write_cifar10
from tests.run_lib.conftest import cifar_checksums  # noqa: F401 - a fixture
from tests.run_lib.program import ROOT, TINY, Outcome, numbers, program, run, written

CIFAR10 = ("--config", ROOT / "configs/ddpm/cifar10.py", "--mode", "eval", "--config.eval.enable_bpd")
SMALL_DDPM = {
    "model__nf": 32,
    "model__ch_mult": "(1,)",
    "model__num_res_blocks": 1,
    "model__attn_resolutions": "()",
}


def test_everything_in_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains, samples, evaluates, and says where all of it is; a second run makes nothing again."""
    monkeypatch.setattr(progress, "DELAY", 0.0)
    workdir = tmp_path / "new/folder"
    outcome = run(TINY, "all", workdir)
    lines = outcome.out.splitlines()
    for line in (
        f"checkpoint   {workdir}/checkpoints/step_00000006.pt",
        f"samples      {workdir}/samples/samples.png",
        f"curves       tensorboard --logdir {workdir}/tensorboard",
        f"report       {workdir}/eval/report.json",
    ):
        assert line in lines
        path = Path(line.split()[-1])
        assert path.exists()
    assert "training: 100%" in outcome.err
    assert "sampling: 100%" in outcome.err
    assert "step/s" in outcome.err
    for name in ("bpd/test", "frechet/pixels", "precision", "recall"):
        assert any(line.split("  ")[1:2] == [name] or line.strip().startswith(name) for line in lines), name
    report, checkpoint = workdir / "eval/report.json", workdir / "checkpoints/step_00000006.pt"
    before = (report.read_bytes(), checkpoint.read_bytes())
    run(TINY, "all", workdir)
    assert (report.read_bytes(), checkpoint.read_bytes()) == before


def test_curves_and_configuration_are_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(TINY, "train", tmp_path, training__snapshot_sampling=True, optim__lr=2e-3)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert [e.step for e in events.Scalars("train/loss")] == [2, 4, 6]
    assert [e.step for e in events.Scalars("test/loss")] == [3, 6]
    rates = [e.value for e in events.Scalars("train/learning_rate")]
    assert rates[0] == pytest.approx(2e-3), "the warm-up is over"
    assert tags["images"] == ["samples"]
    (text,) = events.Tensors("config/text_summary")
    assert b'"n_iters": 6' in text.tensor_proto.string_val[0]


@pytest.mark.parametrize(
    ("config", "workdir"),
    [
        ("configs/ddpm/digits.py", "runs/ddpm/digits"),
        ("ddpm/digits", "runs/ddpm/digits"),
        ("/some/where/else/my/ddpm/digits.py", "runs/my/ddpm/digits"),
        ("../other/digits.py", "runs/other/digits"),
    ],
)
def test_default_workdir(config: str, workdir: str) -> None:
    assert default_workdir(config) == Path(workdir)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("gaussian_2d", "all"),
        ("mixture_2d", "sample"),
        ("mixture_2d", "eval"),
        ("gaussian_image", "sample"),
        ("gaussian_image", "eval"),
        ("mixture_image", "all"),
    ],
)
def test_exact_scores_need_no_training(name: str, mode: str, tmp_path: Path) -> None:
    fast = {
        "sampling__num_samples": 10,
        "sampling__num_steps": 10,
        "eval__num_samples": 70,
        "eval__bpd_num_images": 2,
    }
    run(ROOT / f"configs/toy/{name}.py", mode, tmp_path, **fast)
    assert not (tmp_path / "checkpoints").exists()
    assert (tmp_path / "samples/samples.npz").exists() == (mode != "eval")
    assert (tmp_path / "eval/report.json").exists() == (mode != "sample")


@pytest.mark.slow
def test_the_command_as_printed_without_data(tmp_path: Path) -> None:
    """A process of its own, in a folder with nothing but the configurations: what is missing, and how to
    get it.

    As a user sees it: a status that is not zero, nothing but the error, nothing made.
    """
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    command = "main.py --config configs/ddpm/cifar10.py --mode eval --config.eval.enable_bpd"
    process = subprocess.run(
        [sys.executable, ROOT / "main.py", *command.split()[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert process.stderr.startswith("error: ")
    error = Outcome(process.returncode, process.stdout, process.stderr).error
    assert "CIFAR-10 is not under data/ (missing or damaged: data/cifar-10-batches-py)" in error
    assert "Fetch it by --config.data.download" in error
    assert written(tmp_path / "runs") == []


def test_the_command_without_a_checkpoint(tmp_path: Path, cifar_checksums: Callable[..., Any]) -> None:  # noqa: F811
    write_cifar10(tmp_path / "data", cifar_checksums)
    error = program(*CIFAR10, "--workdir", tmp_path / "run", data__root=tmp_path / "data", **SMALL_DDPM).error
    assert f"there is no checkpoint in {tmp_path}/run/checkpoints/" in error
    assert (
        f"python main.py --config {ROOT}/configs/ddpm/cifar10.py --mode train --workdir {tmp_path}/run"
        in error
    )
    assert "--config.init_from=" in error


def test_the_command_runs_to_a_number(tmp_path: Path, cifar_checksums: Callable[..., Any]) -> None:  # noqa: F811
    """On files of CIFAR-10's format: the network is as good as untrained, so it is worse than the uniform
    density.
    """
    write_cifar10(tmp_path / "data", cifar_checksums)
    tiny = {"data__root": tmp_path / "data", "device": "cpu", **SMALL_DDPM}
    run(
        CIFAR10[1],
        "train",
        tmp_path / "run",
        training__n_iters=1,
        training__batch_size=2,  # type: ignore[arg-type]
        training__snapshot_sampling=False,
        **tiny,
    )
    outcome = program(
        *CIFAR10,
        "--workdir",
        tmp_path / "run",
        eval__bpd_num_images=2,
        eval__bpd_rtol=0.05,
        eval__bpd_atol=0.05,
        **tiny,
    )
    assert outcome.status == 0, outcome.err
    found = numbers(tmp_path / "run")
    assert found["bpd/uniform density"]["value"] == 8.0
    assert found["bpd/test"]["count"] == 2
    assert 8 < found["bpd/test"]["value"] < 20
    assert "frechet/pixels" not in found, "what was not asked for is not made"
