"""Features of images on disk: made once, whatever interrupts the work, and never taken for those of anything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from run_lib.computing.numerics import Arithmetic, Evaluator
from run_lib.data.rows import InMemory
from run_lib.extractors.base import Extractor
from run_lib.fingerprint import of_rows
from run_lib.metrics.base import Output
from run_lib.processes import Processes
from run_lib.scoring.features import FeatureStore, Images
from run_lib.stopping import Stopped

COUNT, BATCH = 23, 5


@dataclass(frozen=True)
class Squares(Extractor):
    """The squares of pixels, and their sum; stops after so many batches, as a run that is killed does."""

    weights: str = "one"
    most: int = 10**6
    seen: list[int] = field(default_factory=list)
    title = "squares"

    @property
    def dimensions(self) -> dict[Output, int]:
        return {"features": 12, "spatial": 1}

    @property
    def protocol(self) -> dict[str, str]:
        return {"extractor": "squares", "weights": self.weights}

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        if len(self.seen) >= self.most:
            raise KeyboardInterrupt
        self.seen.append(len(images))
        squares = images.flatten(1).float() ** 2
        found: dict[Output, Tensor] = {"features": squares, "spatial": squares.sum(1, keepdim=True)}
        return {output: found[output].numpy() for output in outputs}


class Product(nn.Module):
    """By one."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return x @ torch.eye(x.shape[1])


@dataclass(frozen=True)
class Evaluated(Extractor):
    """Features of a network that is evaluated as the arithmetic in use says, as a classifier's are."""

    title = "products"

    @property
    def dimensions(self) -> dict[Output, int]:
        return {"features": 12}

    @property
    def protocol(self) -> dict[str, str]:
        return {"extractor": "products"}

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        return {"features": Evaluator(Product())(images.flatten(1), torch.zeros(len(images))).numpy()}


@pytest.fixture
def images() -> Images:
    pixels = torch.randint(0, 256, (COUNT, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    rows = InMemory(pixels.to(torch.uint8))
    return Images("noise", rows, of_rows(rows), np.arange(COUNT) % 3)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path, Processes(), BATCH)


def test_are_what_the_extractor_gives_and_their_moments_are_numpys(
    store: FeatureStore, images: Images
) -> None:
    view = store.view(images, Squares(), ["features", "spatial"])
    expected = images.rows.read(range(COUNT)).flatten(1).double().numpy() ** 2
    np.testing.assert_array_equal(view.rows("features"), expected)
    np.testing.assert_array_equal(view.rows("spatial")[:, 0], expected.sum(1))
    moments = view.moments("features")
    np.testing.assert_allclose(moments.covariance, np.cov(expected, rowvar=False), rtol=1e-12)
    np.testing.assert_allclose(view.of_class(1).rows("features"), expected[1::3])


def test_are_made_once(store: FeatureStore, images: Images) -> None:
    store.view(images, first := Squares(), ["features"])
    store.view(images, second := Squares(), ["features"])
    store.view(images, third := Squares(), ["features", "spatial"])
    # 23 images are five batches; of the third the features are there.
    assert [len(one.seen) for one in (first, second, third)] == [5, 0, 5]


def test_go_on_after_the_batches_that_are_done(store: FeatureStore, images: Images) -> None:
    with pytest.raises(Stopped):
        store.view(images, Squares(most=2), ["features"])
    view = store.view(images, rest := Squares(), ["features"])
    assert len(rest.seen) == 3
    np.testing.assert_array_equal(
        view.rows("features"), images.rows.read(range(COUNT)).flatten(1).float().numpy() ** 2
    )
    assert not list(store.folder.rglob("*_0000*.npz"))


def test_batches_that_a_killed_run_left_beside_them_are_removed(store: FeatureStore, images: Images) -> None:
    place = store.view(images, Squares(), ["features"]).folder
    (place / "parts").mkdir()
    np.savez(place / "parts/features_00000.npz", features=np.zeros(1))
    store.view(images, again := Squares(), ["features"])
    assert again.seen == []
    assert sorted(path.name for path in place.iterdir()) == ["features.json", "features.npy"]


@pytest.mark.parametrize("change", ["weights", "images", "batch size"])
def test_of_anything_else_are_made_anew(store: FeatureStore, images: Images, change: str) -> None:
    store.view(images, Squares(), ["features"])
    other = Squares(weights="two" if change == "weights" else "one")
    if change == "images":
        altered = images.rows.read(range(COUNT)).clone()
        altered[7, 0, 0, 0] ^= 1
        images = dataclasses.replace(images, rows=InMemory(altered), fingerprint=of_rows(InMemory(altered)))
    if change == "batch size":
        store = dataclasses.replace(store, batch_size=6)
    store.view(images, other, ["features"])
    assert len(other.seen) == (4 if change == "batch size" else 5)


def test_that_are_not_finite_name_the_image(store: FeatureStore) -> None:
    pixels = torch.ones(COUNT, 3, 2, 2)
    pixels[13] = torch.nan
    with pytest.raises(ValueError, match="noise: image 13 has features that are not finite"):
        store.view(Images("noise", InMemory(pixels), "x"), Squares(), ["features"])


def test_are_in_float32_whatever_the_work_around_them(store: FeatureStore) -> None:
    """1 + 2^-9 times 1: bfloat16 has no such number."""
    fine = 1 + 2.0**-9
    pixels = InMemory(torch.full((COUNT, 3, 2, 2), fine))
    with Arithmetic("bfloat16").used():
        view = store.view(Images("fine", pixels, "x"), Evaluated(), ["features"])
    assert (view.rows("features") == fine).all()


def test_that_are_damaged_are_made_again(store: FeatureStore, images: Images) -> None:
    view = store.view(images, Squares(), ["features"])
    path = view.folder / "features.npy"
    path.write_bytes(path.read_bytes()[:-7])
    store.view(images, again := Squares(), ["features"])
    assert len(again.seen) == 5
