"""How runs end: by signals, by a machine that fails, and with a path in the way; one line, a status, nothing left."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import run_lib.sample
import run_lib.training.loop as loop
from models.checkpoints import reader
from run_lib.faults import MachineError
from run_lib.stopping import Stopped, finishing, promising, watching
from run_lib.training.checkpoints import Checkpoints
from tests.endurance.written import differences, written
from tests.run_lib.pictures import random_pixels, save, truncated
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, Outcome, program, run

SMALL = {"sampling__num_samples": 6, "sampling__num_steps": 3}
CONTROL: dict[str, Any] = {"control__task": "inpaint", "control__input": "test", "control__num_images": 2}


def calls(config: Path, mode: str, workdir: Path, **overrides: object) -> Outcome:
    return program("--config", config, "--mode", mode, "--workdir", workdir, **overrides)


def left(folder: Path) -> list[str]:
    """Temporary files and locks."""
    return [p.name for p in folder.rglob(".*")]


def one_line(outcome: Outcome, status: int) -> str:
    """The only line after the bars, which begins with its kind."""
    assert outcome.status == status, outcome.err
    assert "Traceback" not in outcome.err
    (line,) = [line for line in outcome.err.splitlines() if line.startswith(("error: ", "stopped by "))]
    assert outcome.err.splitlines()[-1] == line
    return line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("trained")
    run(TINY, "train", workdir)
    return workdir


def signalled(number: int, call: int, whole: Callable[..., Any]) -> Callable[..., Any]:
    """The function, that sends this process a signal when it is called for the so manyth time."""
    count = [0]

    def function(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] == call:
            os.kill(os.getpid(), number)
        return whole(*args, **kwargs)

    return function


@pytest.mark.slow
@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, 3), (signal.SIGINT, 5)])
def test_training_saves_the_step_that_a_signal_meets(
    number: signal.Signals, step: int, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are due at steps 2, 4 and 6. A signal within the third step leaves one of step 3, from which the
    same command goes on, and the fifth one of 5; the files and curves in the end are those of a run undisturbed."""
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "update", signalled(number, step, loop.update))
        line = one_line(calls(TINY, "train", tmp_path), 128 + number)
    saved = tmp_path / f"checkpoints/step_{step:08d}.pt"
    assert (
        line == f"stopped by {number.name}: the same command goes on from {saved}, the last of {step} steps."
    )
    assert signal.getsignal(number) == before, "the handlers of before are back"
    assert "continuing from" in run(TINY, "train", tmp_path).out
    assert not saved.exists()
    assert differences(written(tmp_path), written(trained)) == []
    assert left(tmp_path) == []


@pytest.mark.slow
def test_killed_after_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves and pictures of its step are written before it, since the next run draws none of them."""
    how = {"training__n_iters": 4, "training__snapshot_freq": 2, "training__snapshot_sampling": True}

    def keep(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "keep", keep)
        with pytest.raises(ZeroDivisionError):
            run(TINY, "train", tmp_path / "killed", **how)
    run(TINY, "train", tmp_path / "killed", **how)
    run(TINY, "train", tmp_path / "whole", **how)
    found = written(tmp_path / "killed")
    assert differences(found, written(tmp_path / "whole")) == []
    assert {("samples", 2), ("samples", 4)} <= {curve[:2] for curve in found["tensorboard"]}


def test_report_of_a_reconstruction_that_was_stopped_before_it(tmp_path: Path) -> None:
    """Its last batch says again how many evaluations an image takes; one that is complete is left as it is."""
    how = {"reconstruct__input": "test", "reconstruct__num_images": 5, "reconstruct__batch_size": 2}
    config = GAUSSIAN.with_name("gaussian_image.py")
    run(config, "reconstruct", tmp_path, **how, **SMALL)
    whole, report = written(tmp_path), tmp_path / "reconstruct/report.json"
    assert json.loads(report.read_text())["nfe"] > 0
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}
    report.unlink()
    for _ in range(2):
        run(config, "reconstruct", tmp_path, **how, **SMALL)
        assert differences(written(tmp_path), whole) == []
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")} == stamps


@pytest.mark.parametrize(
    ("mode", "promise", "overrides"),
    [
        ("sample", "unfinished samples are not kept, and the same command begins anew", {}),
        ("eval", "the batches that are done are kept, and the same command goes on after them", {}),
        ("control", "there is no report, and the same command begins anew", CONTROL),
    ],
)
def test_every_mode_promises_what_it_can_keep(
    mode: str, promise: str, overrides: dict[str, Any], trained: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Sampling ends at once and leaves no file; an evaluation has its batch, and makes it once."""
    (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
    module = {"sample": "run_lib.sample", "eval": "run_lib.evaluation.sample_sets"}.get(
        mode, "run_lib.editing.control"
    )
    name = "_restore" if mode == "control" else "draw"
    only = {"eval__enable_bpd": False, "eval__enable_loss": False} if mode == "eval" else {}
    whole = getattr(sys.modules.get(module) or __import__(module, fromlist=["draw"]), name)
    monkeypatch.setattr(f"{module}.{name}", signalled(signal.SIGTERM, 1, whole))
    assert (
        one_line(calls(TINY, mode, tmp_path, **only, **overrides), 143) == f"stopped by SIGTERM: {promise}."
    )
    parts = sorted(p.name for p in (tmp_path / "eval").rglob("*.npz"))
    assert parts == (["samples_00000.npz"] if mode == "eval" else [])
    assert not (tmp_path / "samples").exists()
    assert [name for name in left(tmp_path) if name != "checkpoints"] == []


def test_second_signal_is_the_systems() -> None:
    """After the first, both signals end the process at once, even within a long operation of a library."""

    def work() -> None:
        with watching(), promising("the rest"), finishing("the work") as stop:
            assert not stop.asked
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked
            assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is signal.SIG_DFL
            stop.leave()

    with pytest.raises(Stopped) as found:
        work()
    assert (found.value.signal, found.value.kept) == (signal.SIGTERM, "the rest")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to let a file of this process grow beyond so many bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "size", "file", "overrides"),
    [
        ("train", 20_000, "checkpoints/step_00000000.pt", {}),  # of the rehearsal
        ("check", 20_000, "checkpoints/step_00000000.pt", {}),
        ("sample", 12_000, "samples/samples.npz", {"sampling__num_samples": 600, "sampling__batch_size": 600}),
        ("eval", 12_000, "eval/parts", {"eval__enable_bpd": False, "eval__num_samples": 300,
                                        "eval__batch_size": 300, "sampling__batch_size": 300}),
        ("control", 12_000, "control/inpaint", {**CONTROL, "control__num_images": 200,
                                                "sampling__batch_size": 200}),
        ("reconstruct", 8_500, "reconstruct/table.csv",
         {"reconstruct__input": "test", "reconstruct__num_images": 360, "reconstruct__num_steps": 2,
          "reconstruct__batch_size": 360}),
        ("tune", 12_000, "tune/plot.png", {"tune__sweep": "num_steps=1,2", "tune__num_samples": 80,
                                            "tune__repeats": 2}),
        ("convert", 12_000, "converted/safetensors", {"convert__to": "safetensors"}),
        ("convert", 12_000, "converted/ours", {"convert__to": "ours"}),
    ],
)  # fmt: skip
def test_full_disk(
    mode: str, size: int, file: str, overrides: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    """The file that could not be written is named, with the machine's status, and no part of it is left."""
    if mode not in ("train", "check"):
        (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
    with largest_file(size):
        outcome = calls(TINY, mode, tmp_path, **overrides)
    line = one_line(outcome, 1)
    assert line.startswith(f"error: {tmp_path}/{file}"), line
    assert "File too large. Free space there, or take another --workdir" in line
    assert [name for name in left(tmp_path) if name != "checkpoints"] == []


@pytest.mark.parametrize(
    ("size", "file"),
    [(30, "config.json"), (0, "tensorboard/events.out.tfevents"), (20_000, "checkpoints/step_00000002.pt")],
)
def test_disk_that_fills_while_training(
    size: int, file: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, where the disk had room for the rehearsal."""
    monkeypatch.setattr(loop, "rehearse", lambda *_: None)
    record = (trained / "config.json").stat().st_size  # which the curves hold too, with the events' own bytes
    with largest_file(size or record + 40):
        line = one_line(calls(TINY, "train", tmp_path), 1)
    assert line.startswith(f"error: {tmp_path}/{file}"), line
    assert [name for name in left(tmp_path) if name != "checkpoints"] == []


def test_curves_hold_whole_records_on_a_full_disk(tmp_path: Path) -> None:
    """The record that did not fit is taken back, so what is there can be read to its end."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    from run_lib.training.curves import Curves

    with Curves(tmp_path, 1) as curves, largest_file(500):
        curves.add_scalar("loss", 0.5, 1)
        with pytest.raises(MachineError, match=r"events.*: File too large"):
            curves.add_text("config", 500 * "x", 1)
    records = list(RawEventFileLoader(str(curves.path)).Load())
    assert len(records) == 3
    # A record is its length (8 bytes), that one's checksum (4), the data, and their checksum (4).
    assert curves.path.stat().st_size == sum(len(record) + 16 for record in records)


@pytest.mark.parametrize(
    ("mode", "way", "overrides"),
    [
        ("train", "checkpoints", {}),
        ("train", "tensorboard", {}),
        ("sample", "samples", {}),
        ("eval", "eval", {"eval__enable_bpd": False}),
        ("tune", "tune", {"tune__sweep": "num_steps=1,2", "tune__num_samples": 80, "tune__repeats": 2}),
        ("reconstruct", "reconstruct", {"reconstruct__input": "test", "reconstruct__num_images": 1}),
        ("control", "control", CONTROL),
    ],
)
def test_file_where_a_folder_belongs(
    mode: str, way: str, overrides: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    if way != "checkpoints" and mode != "train":
        (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
    (tmp_path / way).write_text("mine")
    line = one_line(calls(TINY, mode, tmp_path, **overrides), 2)
    assert line.startswith(f"error: {tmp_path}/{way}"), line
    assert "Move away what is in the way, or take another place." in line
    assert (tmp_path / way).read_text() == "mine"


@pytest.mark.parametrize("way", ["samples.npz", "samples.png", "samples.json"])
def test_folder_where_a_file_belongs(way: str, tmp_path: Path) -> None:
    (tmp_path / "samples" / way).mkdir(parents=True)
    line = one_line(calls(GAUSSIAN, "sample", tmp_path, **SMALL), 2)
    assert line.startswith(f"error: {tmp_path}/samples holds files that are not of this mode"), line
    assert left(tmp_path) == []


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may do everything, so the system's answer is put in its place."""
    whole = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target).name == "samples.png":
            raise PermissionError(13, "Permission denied", str(source))
        whole(source, target)

    monkeypatch.setattr(os, "replace", replace)
    line = one_line(calls(GAUSSIAN, "sample", tmp_path, **SMALL), 2)
    assert line.startswith(
        f"error: {tmp_path}/samples/samples.png: Permission denied. Give this user the right"
    )
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
    ],
)
def test_too_little_memory(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(run_lib.sample, "draw", draw)
    line = one_line(calls(GAUSSIAN, "sample", tmp_path, **SMALL), 1)
    assert line.startswith("error: there is too little memory")
    assert "Lower the batch size" in line


def test_memory_that_is_short_is_no_damage(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that does not fit into memory now is whole: it is not set aside, and no older one is taken."""

    def load(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(reader.torch, "load", load)
    one_line(calls(TINY, "train", trained), 1)
    assert [p.name for p in sorted((trained / "checkpoints").iterdir())] == [
        "step_00000004.pt",
        "step_00000006.pt",
    ]


def test_faults_of_the_program_keep_their_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(run_lib.sample, "draw", draw)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        calls(GAUSSIAN, "sample", tmp_path, **SMALL)


def test_entry_of_a_checkpoint_that_is_missing(trained: Path, tmp_path: Path) -> None:
    """Within an entry: the optimiser's groups without their weights."""
    held = torch.load(trained / "checkpoints/step_00000006.pt", weights_only=True)
    held["optimizer"]["param_groups"][0]["params"] = []
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints/step_00000006.pt"
    torch.save(held, path)
    line = one_line(calls(TINY, "train", tmp_path), 2)
    assert line.startswith(f"error: {path}: its entry 'optimizer' does not go with the configuration")


def test_output_that_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed lines go to a full disk; or to nowhere, where the shell has closed the output."""
    from run_lib import ends

    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        patch.setattr(ends, "_leave_outputs", lambda: None)
        with pytest.raises(SystemExit) as found:
            ends.guarded(lambda: print("numbers"), lambda: False)
        assert found.value.code == 1
        patch.undo()
        full.buffer.raw.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        ends.guarded(lambda: None, lambda: False)


def test_pairs_stay_pairs_where_an_image_is_bad(tmp_path: Path) -> None:
    """Of a and b, c and d, b is damaged: c and d are interpolated as they are without the others; a is listed."""
    names = "abcd"
    for seed, name in enumerate(names):
        save(tmp_path / f"in/{name}.png", random_pixels(seed))
    truncated(tmp_path / "in/b.png", random_pixels(9))
    how = {"control__task": "interpolate", "control__frames": 2, "control__input": tmp_path / "in"}
    config = GAUSSIAN.with_name("gaussian_image.py")
    outcome = calls(config, "control", tmp_path / "run", **how, **SMALL)
    assert outcome.status == 1
    assert "a.png: the other image of its pair is b.png" in outcome.err
    report = json.loads((tmp_path / "run/control/interpolate/report.json").read_text())
    assert [one["image"] for one in report["images"]] == ["c.png"]
    assert [one["image"] for one in report["skipped"]] == ["b.png", "a.png"]


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("absl", signal.SIGINT),
        ("absl.flags", signal.SIGTERM),
        ("numpy", signal.SIGINT),
        ("torch._C", signal.SIGINT),
        pytest.param("run_lib.config.roles", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_during_the_imports(module: str, number: signal.Signals, tmp_path: Path) -> None:
    """Sent when a module has been imported: one line, the signal's status, and nothing written."""
    command = [
        sys.executable,
        "-X",
        "importtime",
        str(ROOT / "main.py"),
        "--config",
        str(GAUSSIAN),
        "--mode",
        "sample",
    ]
    with subprocess.Popen(
        [*command, "--workdir", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.rpartition("|")[2].strip() == module:
                child.send_signal(number)
                break
        said = [line for line in child.stderr.read().splitlines() if not line.startswith("import time:")]
    assert said == [f"stopped by {number.name}."]
    assert child.returncode == 128 + number
    assert not (tmp_path / "run").exists()
