"""Every mode that takes long, by several processes: the files of one, byte for byte."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from run_lib import sample
from run_lib.config.sampling import SamplingPlan
from run_lib.processes import Processes
from run_lib.seeds import Use
from tests.run_lib.pictures import random_pixels, save, truncated
from tests.run_lib.program import TINY, program, run
from tests.run_lib.together import Job, together

FEW: dict[str, Any] = {"sampling__num_samples": 11, "sampling__num_steps": 2}


@dataclass(frozen=True)
class Work(Job):
    """A mode, as a user starts it; each process writes down how it has ended."""

    mode: str = "sample"
    fields: Mapping[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        outcome = program(
            "--config", TINY, "--mode", self.mode, "--workdir", self.folder, **dict(self.fields)
        )
        said = self.folder.with_name(f"{self.folder.name}.{Processes.from_environment().rank}")
        said.write_text(f"{outcome.status}\n{outcome.out}{outcome.err}")


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


def ends(folder: Path, count: int = 2) -> list[list[str]]:
    """The status of each process, and the lines that it has said; without bars of progress."""
    texts = [folder.with_name(f"{folder.name}.{rank}").read_text() for rank in range(count)]
    return [lines(text) for text in texts]


def lines(text: str) -> list[str]:
    """Without bars of progress and seconds; and without what is said of the data, in which forks are silent."""
    found = (re.sub(r"\d+\.\d+ s", "", line) for line in text.splitlines())
    return [line for line in found if line and not re.search(r"%\||no file left out|, .* split: ", line)]


def content(folder: Path) -> dict[str, Any]:
    """Every file of a folder; of JSON and of tables, the entries but for those of the clock."""
    readers: dict[str, Callable[[Path], Any]] = {
        ".json": lambda path: json.loads(path.read_text()),
        ".csv": lambda path: list(csv.DictReader(path.read_text().splitlines())),
    }
    return {
        str(path.relative_to(folder)): timeless(readers.get(path.suffix, Path.read_bytes)(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
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
        folder.mkdir()
        (folder / "checkpoints").symlink_to(trained / "checkpoints")


def images(folder: Path, count: int = 7) -> Path:
    """Grey images, of which the fifth cannot be read."""
    for k in range(count):
        save(folder / f"{k}.png", random_pixels(k))
    truncated(folder / "4.png", random_pixels(4))
    return folder


def test_two_processes_write_the_files_of_one(trained: Path, tmp_path: Path) -> None:
    """All modes at one start of the processes; each says its lines once, and both end alike."""
    given = images(tmp_path / "given")
    asked: dict[str, tuple[str, int, dict[str, Any]]] = {
        "samples": ("sample", 0, FEW),
        "reconstruct": ("reconstruct", 1, {
            "reconstruct__input": given, "reconstruct__num_steps": 2, "reconstruct__batch_size": 2,
            "reconstruct__convert": True,
        }),
        "control/inpaint/score": ("control", 1, {
            "control__input": given, "control__convert": True, "control__samples": 3, "sampling__num_steps": 2,
        }),
        "control/interpolate": ("control", 1, {
            "control__task": "interpolate", "control__input": given, "control__convert": True,
            "sampling__num_steps": 2,
        }),
        "tune": ("tune", 0, {
            "tune__sweep": "num_steps=2,3", "tune__num_samples": 70, "tune__repeats": 3, "sampling__batch_size": 70,
        }),
    }  # fmt: skip
    one = tmp_path / "one"
    works = {
        folder: Work(tmp_path / folder.replace("/", "_"), mode=mode, fields=fields)
        for folder, (mode, _, fields) in asked.items()
    }
    lost = Diverging(tmp_path / "lost", mode="sample", fields=FEW)
    begun(trained, one, lost.folder, *(work.folder for work in works.values()))
    said: dict[str, list[str]] = {}
    for folder, (mode, status, fields) in asked.items():
        alone = program("--config", TINY, "--mode", mode, "--workdir", one, **fields)
        assert alone.status == status, alone.err
        text = f"{status}\n{alone.out}{alone.err}"
        said[folder] = lines(text.replace(str(one), str(works[folder].folder)))
    together(2, [lost, *works.values()])
    for folder, work in works.items():
        first, second = ends(work.folder)
        assert content(work.folder / folder) == content(one / folder)
        assert second == said[folder][:1], "its status, and not a word"
        assert first == said[folder]
    told = [end[1:] for end in ends(lost.folder)]
    assert [end[0] for end in ends(lost.folder)] == ["3", "3"]
    assert sorted(told) == [[], ["incomplete: 5 samples are lost, of index 1, 4, 5, 6, 7: of 1"]]
    assert [path.name for path in lost.folder.iterdir()] == ["checkpoints"]
