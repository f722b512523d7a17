"""Sampling to files: whole, streamed, and the same whatever the batch."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.sample import write_samples
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, run

MIXTURE_IMAGE = ROOT / "configs/toy/mixture_image.py"


def samples(workdir: Path) -> np.ndarray:
    with np.load(workdir / "samples/samples.npz") as held:
        array: np.ndarray = held["arr_0"]
        return array


@pytest.mark.parametrize("predictor", ["ancestral_sampling", "ddim"])
def test_sample_does_not_know_its_batch(predictor: str, tmp_path: Path) -> None:
    """Sample k is a function of (seed, k): batches of 3, of 7 and of all are the same samples."""
    for size in (3, 7, 10):
        run(
            GAUSSIAN,
            "sample",
            tmp_path / str(size),
            sampling__predictor=predictor,
            sampling__corrector="langevin",
            sampling__num_samples=10,
            sampling__batch_size=size,
            sampling__num_steps=20,
        )
    assert samples(tmp_path / "3") == pytest.approx(samples(tmp_path / "10"), abs=1e-6)
    assert samples(tmp_path / "7") == pytest.approx(samples(tmp_path / "10"), abs=1e-6)


def test_seeds_are_used(tmp_path: Path) -> None:
    """The same seed gives the same samples to the bit, another one others; sampling.seed overrides seed."""
    few = {"sampling__num_samples": 10, "sampling__num_steps": 5}
    run(GAUSSIAN, "sample", tmp_path / "a", seed=1, **few)
    run(GAUSSIAN, "sample", tmp_path / "again", seed=1, **few)
    run(GAUSSIAN, "sample", tmp_path / "b", seed=2, **few)
    run(GAUSSIAN, "sample", tmp_path / "sampling", seed=2, sampling__seed=1, **few)
    a, b = samples(tmp_path / "a"), samples(tmp_path / "b")
    assert np.array_equal(a, samples(tmp_path / "again"))
    assert np.array_equal(a, samples(tmp_path / "sampling"))
    assert not np.isclose(a, b).any()
    assert json.loads((tmp_path / "sampling/samples/samples.json").read_text())["seed"] == 1


def test_file_is_written_as_samples_come(tmp_path: Path) -> None:
    """However many batches there are, no more than two are alive at once."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def generate() -> Iterator[np.ndarray]:
        nonlocal most
        for k in range(20):
            batch = np.full((5, 3), k, dtype=np.uint8)
            alive.append(weakref.ref(batch))
            most = max(most, sum(r() is not None for r in alive))
            yield batch
            del batch

    write_samples(tmp_path / "s.npz", generate(), 100, torch.arange(100) % 7)
    assert most <= 2
    with np.load(tmp_path / "s.npz") as held:
        assert np.array_equal(
            held["arr_0"], np.repeat(np.arange(20, dtype=np.uint8), 5)[:, None].repeat(3, 1)
        )
        assert np.array_equal(held["arr_1"], np.arange(100) % 7), "every class in turn"


def test_interrupted_sampling_leaves_no_file(tmp_path: Path) -> None:
    def generate() -> Iterator[np.ndarray]:
        yield np.zeros((5, 3), dtype=np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path / "s.npz", generate(), 100, None)
    assert list(tmp_path.iterdir()) == []


def test_picture_and_arrays_hold_the_same_pixels(tmp_path: Path) -> None:
    """uint8 levels 0..16 in the file; in the picture level / 16 of white, each pixel 6 times as large."""
    run(TINY, "train", tmp_path)
    run(TINY, "sample", tmp_path, sampling__trajectory=2)
    images = samples(tmp_path)
    assert images.dtype == np.uint8
    assert images.shape == (6, 8, 8, 1)
    assert images.max() <= 16
    picture = np.asarray(Image.open(tmp_path / "samples/samples.png"))
    assert picture.shape == (2 * 50 + 2, 2 * 50 + 2, 3), "four samples of 48 pixels and a margin of 2"
    second = picture[2:50, 52:100]
    assert np.array_equal(
        second,
        np.round(images[1, ..., 0] / 16 * 255)
        .astype(np.uint8)
        .repeat(6, 0)
        .repeat(6, 1)[..., None]
        .repeat(3, 2),
    )
    # Another run of the sampler made the trajectory: its last frame is the picture.
    frames = sorted((tmp_path / "samples/trajectory").iterdir())
    assert [f.name for f in frames] == ["frame_0000.png", "frame_0001.png"]
    assert np.array_equal(np.asarray(Image.open(frames[-1])), picture)


def test_trajectory(tmp_path: Path) -> None:
    """Frames evenly spread over 50 steps from noise to data, and the same in a GIF."""
    run(
        MIXTURE_IMAGE,
        "sample",
        tmp_path,
        sampling__num_steps=50,
        sampling__num_samples=9,
        sampling__trajectory=5,
    )
    frames = [
        np.asarray(Image.open(p)).astype(int) for p in sorted((tmp_path / "samples/trajectory").iterdir())
    ]
    assert len(frames) == 5
    last = np.asarray(Image.open(tmp_path / "samples/samples.png")).astype(int)
    far = [np.abs(frame - last).mean() for frame in frames]
    assert far[-1] == 0
    assert far[0] > far[3] > far[4]
    with Image.open(tmp_path / "samples/trajectory.gif") as gif:
        assert gif.n_frames == 5


def test_classes_are_sampled_in_turn(tmp_path: Path) -> None:
    run(TINY, "train", tmp_path, model__num_classes=10, training__n_iters=2)
    run(TINY, "sample", tmp_path, model__num_classes=10, sampling__num_samples=12)
    with np.load(tmp_path / "samples/samples.npz") as held:
        assert held["arr_1"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
