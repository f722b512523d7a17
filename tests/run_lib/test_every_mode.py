"""Every mode that takes long, by several processes: the files of one, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from run_lib.processes import Processes
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


def ends(folder: Path, count: int = 2) -> list[list[str]]:
    """The status of each process, and the lines that it has said; without bars of progress."""
    texts = [folder.with_name(f"{folder.name}.{rank}").read_text() for rank in range(count)]
    return [[line for line in text.splitlines() if line and "it/s" not in line] for text in texts]


def content(folder: Path, but: Sequence[str] = ()) -> dict[str, bytes]:
    """Every file of a folder; of reports, the text without what depends on the clock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }


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


def test_two_processes_write_the_files_of_one(trained: Path, tmp_path: Path) -> None:
    one, two, lost = (tmp_path / name for name in ("one", "two", "lost"))
    begun(trained, one, two, lost)
    run(TINY, "sample", one, **FEW)
    together(2, [Work(two, mode="sample", fields=FEW)])
    assert content(two / "samples", ["samples.json"]) == content(one / "samples", ["samples.json"])
    first, second = ends(two)
    assert (first[0], second) == ("0", ["0"])
    assert sum(line.startswith("11 samples, ") for line in first) == 1
