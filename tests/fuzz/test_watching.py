"""The fuzzer sees what breaks the invariant: each thing that may not happen is done, and told."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fuzz import child
from tests.fuzz.cases import Case
from tests.fuzz.files import ANYTHING, KINDS, OddFile
from tests.fuzz.results import wrong_result
from tests.fuzz.watch import ROOT


def test_what_a_case_does_beside_its_work_is_seen(tmp_path: Path) -> None:
    """Also what is gone again when it ends; what it may do is not.

    In a process of its own: an audit hook stays, and would slow every test that follows.
    """
    command = [sys.executable, "-m", "tests.fuzz.beside", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    allowed, found, later = json.loads(done.stdout)
    assert allowed == []
    for part in (
        "writing OUT/a", "os.remove OUT/a", "writing OUT/linked", "os.mkdir OUT/folder", "os.rename OUT/b", "os.system",
        "socket.connect", "imports strange_module",
    ):  # fmt: skip
        assert any(part.replace("OUT", str(tmp_path / "outside")) in one for one in found), part
    assert len(found) == 8
    assert later == found, "it has ended"


@pytest.mark.parametrize(
    ("status", "said", "fault"),
    [
        (0, "note: a\n", ""),
        (2, "note: a\nerror: b.\n", ""),
        (3, "incomplete: 1 sample.\n", ""),
        (1, "warning: 1 of 2 images could not be read and were skipped:\n  a.png: no\n", ""),
        (1, "", "status 1, 0 lines"),
        (2, "error: a\nerror: b\n", "status 2, 2 lines"),
        (2, "error: a\n  b\n", "more than a line"),
        (2, "Traceback (most recent call last):\nValueError: a\n", "status 2: ValueError: a"),
        (-9, "", "status -9"),
        (0, "error: a\n", "status 0, and an error"),
        (2, "error: x: try weights_only=False.\n", "misleads"),
    ],
)
def test_ends_that_break_the_invariant(status: int, said: str, fault: str) -> None:
    found = child.wrong_end(status, said)
    assert found.startswith(fault) or (fault and fault in found), found
    assert bool(found) == bool(fault)


def _sampled(folder: Path, samples: np.ndarray) -> Path:
    at = folder / "run/samples"
    at.mkdir(parents=True)
    np.savez(at / "samples.npz", arr_0=samples)
    for name in ("samples", "settings"):
        (at / f"{name}.json").write_text(json.dumps({"seed": 1}))
    Image.new("L", (8, 8)).save(at / "samples.png")
    return at


def test_results_that_are_none(tmp_path: Path) -> None:
    """Three samples of 8x8 are asked for."""
    case, right = Case("toy/gaussian_image", "sample"), np.zeros((3, 8, 8, 1), np.float32)
    _sampled(tmp_path / "right", right)
    assert wrong_result(case, tmp_path / "right") == ""
    _sampled(tmp_path / "few", right[:2])
    assert wrong_result(case, tmp_path / "few") == "samples.npz has 2 rows of 3"
    _sampled(tmp_path / "nan", np.full_like(right, np.nan))
    assert wrong_result(case, tmp_path / "nan") == "samples.npz is not finite"
    (_sampled(tmp_path / "left", right) / ".partial-7-a").touch()
    assert wrong_result(case, tmp_path / "left") == "run/samples/.partial-7-a is left"
    (_sampled(tmp_path / "json", right) / "samples.json").write_text("{")
    assert wrong_result(case, tmp_path / "json").startswith("its results cannot be read: JSONDecodeError")


@pytest.mark.parametrize("kind", ["json", "npz", "npy", "image", "images"])
@pytest.mark.slow
def test_every_damage_writes_the_same_file_again(kind: str, tmp_path: Path) -> None:
    whole = tmp_path / "trained/best.json"
    whole.parent.mkdir()
    whole.write_text('{"num_steps": 2}')
    for damage in KINDS[kind].keys() - ANYTHING.keys():
        for seed in random.Random(0).sample(range(1000), 5):
            for at in ("one", "two"):
                OddFile(f"{at}/a", kind, damage, seed, "best.json").write(tmp_path, whole.parent)
            one, two = (tmp_path / at / "a" for at in ("one", "two"))
            assert one.is_dir() or one.read_bytes() == two.read_bytes(), (damage, seed)
