"""Two runs in one work directory, and what killed ones have left."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from run_lib.files import remove_partials
from run_lib.locks import FILE, holding
from tests.run_lib.program import GAUSSIAN, TINY, program, run, written

SMALL = {"sampling__num_samples": 6, "sampling__num_steps": 3}
DEAD = 2**22 + 1
"""A number that no process has: Linux gives none above 2^22."""


def test_second_run_is_refused_by_name_of_the_first(tmp_path: Path) -> None:
    """And does nothing, not even to the record of the configuration."""
    folder = tmp_path / "samples"
    with holding([folder], "sample"):
        error = program("--config", GAUSSIAN, "--mode", "sample", "--workdir", tmp_path, **SMALL).error
        assert written(tmp_path) == [f"samples/{FILE}"]
    whose = f"--mode sample, process {os.getpid()} on {socket.gethostname()}, since "
    assert error.startswith(f"{folder}/ is being written by {whose}")
    assert not (tmp_path / "config.json").exists()
    assert not folder.exists(), "a folder made for its lock alone is gone with it"


def test_lock_of_a_process_that_was_killed_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / FILE).write_text('{"mode": "sample", "pid": 1, "host": "here", "since": "today"}')
    run(GAUSSIAN, "sample", tmp_path, **SMALL)
    assert not (tmp_path / "samples" / FILE).exists()


def test_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Where it leads, the text of the lock would replace what is there."""
    theirs, folder = tmp_path / "theirs.txt", tmp_path / "run/checkpoints"
    theirs.write_text("mine")
    folder.mkdir(parents=True)
    (folder / FILE).symlink_to(theirs)
    error = program("--config", TINY, "--mode", "train", "--workdir", tmp_path / "run").error
    assert f"{folder / FILE} is a link to {theirs}" in error
    assert theirs.read_text() == "mine"


def test_evaluation_beside_a_training(tmp_path: Path) -> None:
    """They write to different folders."""
    with holding([tmp_path / "checkpoints"], "train"):
        run(GAUSSIAN, "eval", tmp_path, eval__enable_bpd=False, eval__num_samples=10, **SMALL)
        assert program("--config", TINY, "--mode", "all", "--workdir", tmp_path).status == 2


def test_lock_ends_with_an_error_within_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), holding([tmp_path / "a"], "train"):
        raise ZeroDivisionError
    with holding([tmp_path / "a"], "train"):
        (tmp_path / "a/result").touch()
    assert written(tmp_path) == ["a/result"]


def test_what_a_kill_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    """Temporary files of processes that are no more, wherever the run writes; nobody else's."""
    ours = [f"samples/.partial-{DEAD}-samples.npz", f"samples/trajectory/.partial-{DEAD}-frame.png",
            f".partial-{DEAD}-config.json"]  # fmt: skip
    others = [
        f"samples/.partial-{os.getppid()}-samples.npz",
        "samples/.partial-notes",
        "samples/.partial-1x-a",
    ]
    others += [f"elsewhere/.partial-{DEAD}-samples.npz"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    run(GAUSSIAN, "sample", tmp_path, **SMALL)
    assert not any((tmp_path / name).exists() for name in ours)
    assert all((tmp_path / name).exists() for name in others)


def test_partial_folder_is_removed_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    (tmp_path / f"work/.partial-{DEAD}-diffusers").mkdir(parents=True)
    (tmp_path / f"work/.partial-{DEAD}-link").symlink_to(tmp_path / "mine")
    remove_partials(tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
    assert (tmp_path / "mine/file").exists()
