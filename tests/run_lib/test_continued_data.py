"""Training goes on with the data that it began with: their content is known, wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib import fingerprint as hashes
from run_lib.data.rows import InMemory
from run_lib.fingerprint import of_rows, of_split
from run_lib.training.checkpoints import read_checkpoint
from tests.run_lib.program import TINY, program, run

# TensorBoard's own imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FIELDS = {
    "data__dataset": "ffhq", "data__levels": 256, "training__n_iters": 2, "training__snapshot_freq": 2,
    "training__eval_freq": 100,
}  # fmt: skip


def images(root: Path, seed: int = 0) -> Path:
    """Twelve images for training, four for tests."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 8, 8), dtype=np.uint8)
    for number, image in enumerate(pixels):
        path = root / "ffhq" / ("train" if number < 12 else "test") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


def packed(root: Path, count: int = 12, seed: int = 0) -> Path:
    folder = root / "ffhq"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    np.save(folder / "train.npy", pixels)
    np.save(folder / "test.npy", pixels[:4])
    return root


@pytest.mark.slow
@pytest.mark.parametrize("make", [images, packed])
def test_other_content_under_the_same_name_is_refused(make: object, tmp_path: Path) -> None:
    """One pixel by one level: both hashes are named; ``resume_anyway`` goes on and says so, and knows it then."""
    assert callable(make)
    root = make(tmp_path / "data")
    run(TINY, "train", tmp_path / "run", data__root=root, **FIELDS)
    first = read_checkpoint(tmp_path / "run/checkpoints/step_00000002.pt")["data"]
    longer = {**FIELDS, "training__n_iters": 3}
    if make is images:
        path = root / "ffhq/train/05.png"
        pixels = np.array(Image.open(path))
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(path)
    else:
        stored = np.load(root / "ffhq/train.npy")
        stored[5, 0, 0, 0] ^= 1
        np.save(root / "ffhq/train.npy", stored)
    line = ("--config", TINY, "--mode", "train", "--workdir", tmp_path / "run")
    said = program(*line, data__root=root, **longer).error
    assert "the training split of data.dataset=ffhq has the content " in said
    assert f"(was {first})" in said
    assert "--config.resume_anyway" in said
    assert not (tmp_path / "run/checkpoints/step_00000003.pt").exists()

    anyway = run(TINY, "train", tmp_path / "run", data__root=root, resume_anyway=True, **longer)
    assert f"(was {first}); training goes on with it" in anyway.err
    second = read_checkpoint(tmp_path / "run/checkpoints/step_00000003.pt")["data"]
    assert f"has the content {second} " in said
    assert second != first
    again = run(TINY, "train", tmp_path / "run", data__root=root, **{**FIELDS, "training__n_iters": 4})
    assert "content" not in again.err


@pytest.mark.slow
def test_the_same_content_elsewhere_goes_on(tmp_path: Path) -> None:
    """Moved and with other dates; another run's checkpoint; the test split is nothing to it."""
    run(TINY, "train", tmp_path / "run", data__root=images(tmp_path / "data"), **FIELDS)
    shutil.copytree(
        tmp_path / "data/ffhq/train", tmp_path / "moved/ffhq/train", copy_function=shutil.copyfile
    )
    images(tmp_path / "other", seed=1)
    shutil.copytree(tmp_path / "other/ffhq/test", tmp_path / "moved/ffhq/test")
    longer = {**FIELDS, "training__n_iters": 3, "data__root": tmp_path / "moved"}
    run(TINY, "train", tmp_path / "run", **longer)
    checkpoint = tmp_path / "run/checkpoints/step_00000003.pt"
    elsewhere = {**FIELDS, "training__n_iters": 4, "resume_from": checkpoint}
    run(TINY, "train", tmp_path / "second", data__root=tmp_path / "data", **elsewhere)
    line = ("--config", TINY, "--mode", "train", "--workdir", tmp_path / "third")
    assert "has the content" in program(*line, data__root=tmp_path / "other", **elsewhere).error


@pytest.mark.slow
def test_checkpoints_of_before_and_files_of_weights(tmp_path: Path) -> None:
    """Checkpoints without the entry go on, and have it from there; weights to start from have no data."""
    root = images(tmp_path / "data")
    run(TINY, "train", tmp_path / "run", data__root=root, **FIELDS)
    path = tmp_path / "run/checkpoints/step_00000002.pt"
    held = torch.load(path, weights_only=True)
    wanted = held.pop("data")
    torch.save(held, path)
    run(TINY, "train", tmp_path / "run", data__root=root, **{**FIELDS, "training__n_iters": 3})
    assert read_checkpoint(tmp_path / "run/checkpoints/step_00000003.pt")["data"] == wanted
    other = images(tmp_path / "other", seed=1)
    start = tmp_path / "run/checkpoints/step_00000003.pt"
    run(TINY, "train", tmp_path / "new", data__root=other, init_from=start, **FIELDS)
    assert read_checkpoint(tmp_path / "new/checkpoints/step_00000002.pt")["data"] != wanted
    run(TINY, "convert", tmp_path / "new", data__root=other, convert__path=tmp_path / "ours.pt", **FIELDS)
    assert (
        read_checkpoint(tmp_path / "ours.pt")["data"]
        == (read_checkpoint(tmp_path / "new/checkpoints/step_00000002.pt")["data"])
    )


def test_arrays_on_disk_are_known_by_some_of_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 6,000 images at most 1,026 are read. Which of them, is fixed: the first, the last and seeded ones."""
    from run_lib.config import plans
    from tests.run_lib.planned import planned
    from tests.run_lib.tiny import get_config as tiny

    root = packed(tmp_path / "data", 6_000)
    data = planned(tiny(), plans.training, {**FIELDS, "data__root": str(root)}).subject.data
    read: list[int] = []
    update = hashes._update

    def counting(sha: object, rows: torch.Tensor) -> None:
        read.append(rows.numel())
        update(sha, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(hashes, "_update", counting)
    of_split(data, "train")
    assert 1_024 * 64 <= sum(read) - 6_000 <= 1_026 * 64, "their pixels, and the labels"


@pytest.mark.slow
def test_samples_that_may_be_corrupt(tmp_path: Path) -> None:
    """``data.max_corrupt`` holds for the hash, too; and one that can be read again is another content."""
    root = images(tmp_path / "data")
    path = root / "ffhq/train/05.png"
    whole = path.read_bytes()
    path.write_bytes(b"no image")
    allowed = {**FIELDS, "data__root": root, "data__max_corrupt": 1}
    made = run(TINY, "train", tmp_path / "run", **allowed)
    assert f"left out: {path} cannot be read" in made.err
    path.write_bytes(whole)
    error = program("--config", TINY, "--mode", "train", "--workdir", tmp_path / "run",
                    **{**allowed, "training__n_iters": 3}).error  # fmt: skip
    assert "resume_anyway" in error


def hashed(rows: torch.Tensor) -> str:
    return of_rows(InMemory(rows))


@pytest.mark.slow
def test_hash_hashed() -> None:
    """The first and the last row, the shape, the type and the order count; and every row where there are few."""
    rows = torch.arange(5_000 * 3).reshape(5_000, 3)
    whole = hashed(rows)
    assert whole == hashed(rows.clone())
    assert whole not in (
        hashed(rows.int()),
        hashed(rows[:-1]),
        hashed(rows.flip(0)),
        hashed(rows.reshape(-1, 1)),
    )
    for row in (0, -1):
        changed = rows.clone()
        changed[row, 1] += 1
        assert hashed(changed) != whole
    seen = 0
    for row in range(1, 4_001, 40):
        changed = rows.clone()
        changed[row] += 1
        seen += hashed(changed) != whole
    assert 4 <= seen <= 37, (
        "100 rows, each with a probability of 0.205: within four standard deviations of 20"
    )
    few = rows[:1_024]
    for row in (0, 1, 500, 1_023):
        changed = few.clone()
        changed[row, 2] += 1
        assert hashed(changed) != hashed(few)
    assert hashed(rows[:0]) != hashed(rows[:1])
