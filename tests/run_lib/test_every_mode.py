"""Every mode that takes long, by several processes: the files of one, byte for byte."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from torch.multiprocessing import ProcessExitedException

from run_lib import sample
from run_lib.config.sampling import SamplingPlan
from run_lib.processes import _ENDED, Processes
from run_lib.seeds import Use
from run_lib.sharing.parts import KEPT
from tests.endurance.written import ON_PAGES
from tests.run_lib.pictures import random_pixels, save, truncated
from tests.run_lib.program import ROOT, TINY, program, run
from tests.run_lib.together import Job, together

FEW: dict[str, Any] = {"sampling__num_samples": 11, "sampling__num_steps": 2}


@dataclass(frozen=True)
class Work(Job):
    """A mode, as a user starts it; each process writes down how it has ended.

    Attributes:
        fields: text of them may name the ``{folder}``.
        constants: of the program, by their dotted names, that are smaller here.
    """

    mode: str = "sample"
    fields: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """Do it, alone or together with others."""
        fields = {
            k: v.format(folder=self.folder) if isinstance(v, str) else v for k, v in self.fields.items()
        }
        with ExitStack() as stack:
            for name, value in self.constants.items():
                stack.enter_context(mock.patch(name, value))
            outcome = program("--config", TINY, "--mode", self.mode, "--workdir", self.folder, **fields)
        processes = Processes.from_environment()
        out = outcome.out if processes.is_main else ""  # as it is without this test's own hold of the output
        said = self.folder.with_name(f"{self.folder.name}.{processes.rank}")
        said.write_text(f"{outcome.status}\n{out}{outcome.err}")


@dataclass(frozen=True)
class Diverging(Work):
    """Samples of which one of the first batch and all of the second are lost; one of the third comes too late."""

    def run(self) -> None:
        drawn = sample.draw

        def draw(plan: SamplingPlan, indices: Sequence[int], use: Use = Use.SAMPLING) -> sample.Batch:
            if lost := [index for index in indices if index in (1, 4, 5, 6, 7, 9)]:
                raise sample.LostSamplesError(lost, f"of {lost[0]}")
            return drawn(plan, indices, use)

        with mock.patch.object(sample, "draw", draw):
            super().run()


@dataclass(frozen=True)
class Interrupted(Work):
    """Of two processes, the second is sent a signal in the first of its three batches."""

    def run(self) -> None:
        drawn = sample.draw

        def draw(plan: SamplingPlan, indices: Sequence[int], use: Use = Use.SAMPLING) -> sample.Batch:
            if indices[0] == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return drawn(plan, indices, use)

        with mock.patch.object(sample, "draw", draw):
            super().run()


@dataclass(frozen=True)
class Killed(Work):
    """Packing, in which processes are killed at the second block that they write.

    Attributes:
        ranks: of those that are killed.
    """

    ranks: Sequence[int] = ()

    def run(self) -> None:
        written = itertools.count(1)

        def sync(number: int) -> None:
            if next(written) == 2 and Processes.from_environment().rank in self.ranks:
                os.kill(os.getpid(), signal.SIGKILL)

        with mock.patch("os.fdatasync", sync):
            super().run()


def ends(folder: Path, count: int = 2) -> list[list[str]]:
    """The status of each process, and the lines that it has said; without bars of progress."""
    texts = [folder.with_name(f"{folder.name}.{rank}").read_text() for rank in range(count)]
    return [lines(text) for text in texts]


def lines(text: str) -> list[str]:
    """Without bars of progress and seconds; and without what is said of the data, in which forks are silent."""
    found = (re.sub(r"\d+\.\d+ s", "", line) for line in text.splitlines())
    return [line for line in found if line and not re.search(r"%\||no file left out|, .* split: ", line)]


def content(folder: Path) -> dict[str, Any]:
    """Every file of a folder but the log; of JSON and of tables, the entries but for those of the clock."""
    readers: dict[str, Callable[[Path], Any]] = {
        ".json": lambda path: json.loads(path.read_text()),
        ".csv": lambda path: list(csv.DictReader(path.read_text().splitlines())),
        ".html": lambda path: ON_PAGES.sub("", path.read_text()),
    }
    return {
        str(path.relative_to(folder)): timeless(readers.get(path.suffix, Path.read_bytes)(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "log.txt"
    }


def timeless(held: Any) -> Any:
    """Plain data without seconds."""
    if isinstance(held, dict):
        return {key: timeless(value) for key, value in held.items() if key != "seconds"}
    return [timeless(value) for value in held] if isinstance(held, list) else held


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run(TINY, "train", folder, training__n_iters=2)
    return folder


def begun(trained: Path, *folders: Path) -> None:
    """Work directories with the weights."""
    for folder in folders:
        (folder / "measured").mkdir(parents=True)
        (folder / "checkpoints").symlink_to(trained / "checkpoints")


def images(folder: Path, count: int = 7) -> Path:
    """Grey images, of which one cannot be read."""
    for k in range(count):
        save(folder / f"{k}.png", random_pixels(k))
    truncated(folder / f"{count - 3}.png", random_pixels(4))
    return folder


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(trained: Path, tmp_path: Path) -> None:
    """Modes of every kind at one start of the processes; each says its lines once, and both end alike."""
    given = {"input": images(tmp_path / "given"), "convert": True}
    reads, restores = ({f"{mode}__{k}": v for k, v in given.items()} for mode in ("reconstruct", "control"))
    asked = {
        "samples": Work(Path(), mode="sample", fields={**FEW, "model__beta_max": 15.0, "resume_anyway": True}),
        "reconstruct": Work(Path(), mode="reconstruct", fields={
            **reads, "reconstruct__num_steps": 2, "reconstruct__batch_size": 2,
        }),
        "control/inpaint": Work(Path(), mode="control", fields={
            **restores, "control__samples": 3, "sampling__num_steps": 2,
        }),
        "packed": Work(Path(), mode="pack", constants={"run_lib.preparation.pack.BLOCK": 20_000}),
        "measured": Work(Path(), mode="stats", fields={"data__root": "{folder}/measured"}, constants={
            "run_lib.data.rows.CHUNK": 20_000,
            "run_lib.preparation.stats.EXACT": 100,
            "run_lib.preparation.stats.SAMPLE": 1_100,
        }),
    }  # fmt: skip
    statuses = {"reconstruct": "1", "control/inpaint": "1"}
    both = [
        (folder, *(replace(work, folder=tmp_path / f"{number}_{k}") for k in (1, 2)))
        for number, (folder, work) in enumerate(asked.items())
    ]
    lost = Diverging(tmp_path / "lost", mode="sample", fields=FEW)
    stopped = Interrupted(tmp_path / "stopped", mode="sample", fields={**FEW, "sampling__batch_size": 2})
    begun(trained, lost.folder, stopped.folder, *(work.folder for _, *works in both for work in works))
    for _, alone, _ in both:
        alone.run()
    together(2, [lost, *(work for _, _, work in both), stopped])
    for folder, alone, work in both:
        (said,), (first, second) = ends(alone.folder, 1), ends(work.folder)
        assert said[0] == statuses.get(folder, "0"), said
        assert content(work.folder) == content(alone.folder)
        assert any(path.startswith(folder) for path in content(work.folder))
        assert second == said[:1], "its status, and not a word"
        assert first == [line.replace(str(alone.folder), str(work.folder)) for line in said]
    assert "is taken with model.beta_max=15.0" in "\n".join(ends(both[0][2].folder)[0])
    told = [end[1:] for end in ends(lost.folder)]
    assert [end[0] for end in ends(lost.folder)] == ["3", "3"]
    assert sorted(told) == [[], ["incomplete: 5 samples are lost, of index 1, 4, 5, 6, 7: of 1"]]
    assert not (lost.folder / "samples").exists()

    first, second = ends(stopped.folder)
    assert first == ["1", f"error: {_ENDED}"]
    assert second == ["143", f"stopped by SIGTERM: {KEPT}."]
    with mock.patch.object(sample, "draw", mock.Mock(wraps=sample.draw)) as draw:
        run(TINY, "sample", stopped.folder, **stopped.fields)
    assert [call.args[1] for call in draw.call_args_list] == [range(6, 8), range(10, 11)]
    begun(trained, tmp_path / "whole")
    run(TINY, "sample", tmp_path / "whole", **stopped.fields)
    assert content(stopped.folder / "samples") == content(tmp_path / "whole/samples")


def test_processes_of_a_sweep_start_no_others(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(trained, tmp_path / "run")
    monkeypatch.setenv("WORLD_SIZE", "2")
    asked = ("--config", TINY, "--mode", "tune", "--workdir", tmp_path / "run")
    error = program(*asked, tune__sweep="num_steps=2,3", tune__num_samples=70, tune__processes=3).error
    assert "the 2 processes that were launched share the sets, and config.tune.processes=3" in error
    assert "set it to 1" in error
    assert not (tmp_path / "run/tune").exists()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [(1,), (0, 1)])
def test_packing_that_was_killed_goes_on_by_any_number(ranks: Sequence[int], tmp_path: Path) -> None:
    """One or both of two processes; then one or three go on, and write what one writes undisturbed."""
    small = {"run_lib.preparation.pack.BLOCK": 5_000}
    fields = {"data__root": "."}
    work = {"mode": "pack", "fields": fields, "constants": small}
    Work(tmp_path / "whole", **work).run()
    with pytest.raises(ProcessExitedException):
        together(2, [Killed(tmp_path / "killed", ranks=ranks, **work)])
    held = tmp_path / "killed/packed"
    assert {path.name for path in held.iterdir()} >= {
        f".packing-train.{end}" for end in ("npy", "done", "plan")
    }
    states = (held / ".packing-train.done").read_bytes()
    assert 0 in states and 1 in states
    for count in (1, 3):
        shutil.copytree(tmp_path / "killed", tmp_path / str(count))
    Work(tmp_path / "1", **work).run()
    together(3, [Work(tmp_path / "3", **work)])
    for count in (1, 3):
        assert content(tmp_path / str(count)) == content(tmp_path / "whole")
        assert f"going on with {tmp_path / str(count)}" in ends(tmp_path / str(count), count)[0][1]


@pytest.mark.slow
def test_three_processes_for_two_batches(trained: Path, tmp_path: Path) -> None:
    """One has nothing to do, which is said; the files are those of one. A sweep has four sets, stats no batches."""
    read = {"input": images(tmp_path / "given", 4), "convert": True}
    few = "2 batches for 3 processes; a lower batch size shares them out"
    works = [
        (f"sampling: {few}", Work(tmp_path / "1", mode="sample", fields={"sampling__num_samples": 6})),
        (f"reconstructing: {few}", Work(tmp_path / "2", mode="reconstruct", fields={
            **{f"reconstruct__{k}": v for k, v in read.items()}, "reconstruct__batch_size": 2,
        })),
        (f"inpaint: {few}", Work(tmp_path / "3", mode="control", fields={
            **{f"control__{k}": v for k, v in read.items()}, "control__samples": 2,
        })),
        ("1 image, ", Work(tmp_path / "4", mode="control", fields={
            **{f"control__{k}": v for k, v in read.items()}, "control__task": "interpolate",
        })),
        ("best by", Work(tmp_path / "5", mode="tune", fields={
            "tune__sweep": "num_steps=2,3", "tune__num_samples": 70, "tune__repeats": 2, "sampling__batch_size": 70,
        })),
        ("sigma_max", Work(tmp_path / "6", mode="stats", fields={"data__root": "{folder}/measured"})),
    ]  # fmt: skip
    alone = [replace(work, folder=tmp_path / f"{work.folder.name}_alone") for _, work in works]
    begun(trained, *(work.folder for _, work in works), *(work.folder for work in alone))
    for one in alone:
        one.run()
    together(3, [work for _, work in works])
    for (said, work), one in zip(works, alone, strict=True):
        assert content(work.folder) == content(one.folder)
        first, *others = ends(work.folder, 3)
        assert others == [first[:1]] * 2
        assert any(line.startswith(said) for line in first)


def torchrun(count: int, *arguments: object) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.Popen(
        [sys.executable, *launcher, "main.py", "--config", str(TINY), *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
def test_a_signal_to_the_launcher_and_the_same_command(trained: Path, tmp_path: Path) -> None:
    """Both finish their batches and say so once; one process goes on with what they have."""
    begun(trained, tmp_path / "two", tmp_path / "one")
    asked = ["--mode", "sample", "--config.sampling.num_samples=64", "--config.sampling.num_steps=60"]
    launcher = torchrun(2, *asked, "--workdir", tmp_path / "two")
    while not list((tmp_path / "two/samples").rglob("sampling_*.npz")):
        assert launcher.poll() is None, launcher.communicate()
        time.sleep(0.1)
    launcher.send_signal(signal.SIGTERM)
    _, err = launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    assert err.count(f"stopped by SIGTERM: {KEPT}.") == 1
    done = {path.name for path in (tmp_path / "two/samples").rglob("sampling_*.npz")}
    assert 0 < len(done) < 16
    with mock.patch.object(sample, "draw", mock.Mock(wraps=sample.draw)) as draw:
        for folder in ("one", "two"):
            draw.reset_mock()
            assert program("--config", TINY, *asked, "--workdir", tmp_path / folder).status == 0
    assert draw.call_count == 16 - len(done)
    assert content(tmp_path / "two") == content(tmp_path / "one")


@pytest.mark.slow
def test_an_image_that_one_process_cannot_read_ends_both(tmp_path: Path) -> None:
    """It is named once, and no temporary file stays."""
    images(tmp_path / "given")
    began = time.monotonic()
    launcher = torchrun(
        2, "--mode", "pack", "--workdir", tmp_path / "run", "--config.data.dataset=folder",
        f"--config.data.root={tmp_path / 'given'}", "--config.data.levels=256", "--config.data.test_fraction=0.0",
    )  # fmt: skip
    _, err = launcher.communicate()
    assert launcher.returncode == 1 and time.monotonic() - began < 60
    assert err.count("4.png cannot be read") == 1
    assert "traceback" not in err.lower().split("elastic")[0]
    assert not list((tmp_path / "run").rglob(".partial-*"))
