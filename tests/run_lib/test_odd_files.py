"""Files that are none, names that hold line breaks, texts that are no text: one line, and no waiting."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints.diffusers_folder import read_folder
from run_lib.data.archives import read_archive
from run_lib.data.packed import read_array, read_arrays
from run_lib.editing.image_table import ImageTable
from run_lib.files import read_json
from run_lib.training.checkpoints import is_checkpoint
from tests.run_lib.program import GAUSSIAN, TINY, program


class Late(BaseException):
    """No error that anything but a test would catch."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """End what waits for longer."""

    def late(number: int, frame: Any) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("read", [read_json, read_array, read_arrays])
def test_nobody_waits_for_a_pipe(read: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with within(2), pytest.raises(ValueError, match="is no regular file"):
        read(tmp_path / "pipe")


def test_an_archive_that_cannot_be_read(tmp_path: Path) -> None:
    """A link to itself: what the system says, without its number."""
    (tmp_path / "a.npz").symlink_to("a.npz")
    with pytest.raises(ValueError, match=r"arr_0: it cannot be read: Too many levels of symbolic links\.$"):
        read_archive(tmp_path / "a.npz", "a.npz", (1, 8, 8), 256)


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "step_00000001.pt")
    with within(2):
        assert not is_checkpoint(tmp_path / "step_00000001.pt")


def test_text_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"^is no text in UTF-8$"):
        read_json(tmp_path / "a.json")


SWEEP = "--config.tune.sweep=num_steps=2,3"


@pytest.mark.parametrize(
    "command",
    [
        (GAUSSIAN, "tune", SWEEP, "--config.tune.folder=.."),
        (GAUSSIAN, "tune", SWEEP, "--config.tune.folder=../outside"),
        (GAUSSIAN, "convert"),
        (TINY, "train"),
        (TINY, "all"),
    ],
    ids=lambda command: " ".join((command[1], *command[2:][-1:])),
)
def test_not_even_a_lock_is_made_outside(command: tuple[Any, ...], tmp_path: Path) -> None:
    """By a name that leads out, or by a link: the folders there are as they were, to their times."""
    outside = [tmp_path / "at", tmp_path / "at/outside"]
    (tmp_path / "at/run").mkdir(parents=True)
    outside[1].mkdir()
    for name in ("checkpoints", "converted"):
        (tmp_path / "at/run" / name).symlink_to("../outside")
    for folder in outside:
        os.utime(folder, (1, 1))
    config, mode, *fields = command
    outcome = program("--config", config, "--mode", mode, "--workdir", tmp_path / "at/run", *fields)
    assert outcome.error
    assert [folder.stat().st_mtime for folder in outside] == [1, 1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe\n", "it is no text in UTF-8"),
        (b"", "its first line is missing"),
        (b"image,error\na,1,2\n", "a line has 3 entries"),
    ],
)
def test_what_is_no_table_of_images(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"images and errors, .*\({reason}\): move it away"):
        ImageTable(tmp_path / "table.csv", "error", float)


def test_a_nested_configuration_of_diffusers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a":' * 10**5)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"config\.json is nested too deeply"):
        read_folder(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"config\.json is no text in UTF-8\.$"):
        read_folder(tmp_path)


def test_an_error_is_one_line_whatever_it_quotes(tmp_path: Path) -> None:
    outcome = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "a\nb")
    assert outcome.status == 2
    assert outcome.err.startswith("error: there is no checkpoint in ")
    assert outcome.err.count("\n") == 1
