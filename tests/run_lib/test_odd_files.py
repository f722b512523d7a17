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
from run_lib.data.packed import read_array, read_arrays
from run_lib.editing.image_table import ImageTable
from run_lib.files import read_json
from run_lib.training.checkpoints import is_checkpoint
from tests.run_lib.program import TINY, program


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


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "step_00000001.pt")
    with within(2):
        assert not is_checkpoint(tmp_path / "step_00000001.pt")


def test_text_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"^is no text in UTF-8$"):
        read_json(tmp_path / "a.json")


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
    with pytest.raises(ValueError, match=rf"images and errors \({reason}\); move it away"):
        ImageTable(tmp_path / "table.csv", "error", float)


def test_a_nested_configuration_of_diffusers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a":' * 10**5)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"config\.json is nested too deeply"):
        read_folder(tmp_path)


def test_an_error_is_one_line_whatever_it_quotes(tmp_path: Path) -> None:
    outcome = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "a\nb")
    assert outcome.status == 2
    assert outcome.err.startswith("error: there is no checkpoint in ")
    assert outcome.err.count("\n") == 1
