"""Data sets, and the maps between levels and a network's range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.exact.mixtures import GaussianMixtureScore
from run_lib.data.formed import npy
from run_lib.data.labels import draw_labels
from run_lib.data.levels import Arrays, DataSpec
from run_lib.data.named import cifar10
from run_lib.data.order import shuffled_rows
from run_lib.data.sources import digits, exact
from run_lib.data.user_sets import as_split
from sde_lib import VPSDE, Noise
from tests.run_lib.cifar import write_cifar10

SPEC = DataSpec(
    name="some",
    loader=digits,
    density=None,
    shape=(1, 8, 8),
    levels=17,
    centered=True,
    dequantize=True,
    random_flip=False,
)


def test_digits_are_the_whole_of_scikit_learns_in_a_stratified_split() -> None:
    """1797 real images, 17 levels; every class keeps its share of about a fifth in the test split."""
    from sklearn.datasets import load_digits

    train, test = digits("train"), digits("test")
    assert (len(train), len(test)) == (1437, 360)
    assert int(train.images.min()) == 0
    assert int(train.images.max()) == 16
    ours = np.concatenate([train.images.numpy(), test.images.numpy()]).reshape(1797, 64)
    assert np.array_equal(np.sort(ours.sum(1)), np.sort(load_digits().data.sum(1)))
    share = test.labels.bincount() / (train.labels.bincount() + test.labels.bincount())
    assert share.tolist() == pytest.approx([0.2003] * 10, abs=0.006)
    assert np.array_equal(load_digits().data.sum(0), ours.sum(0)), "no image twice in place of another"


@pytest.mark.parametrize(("split", "first"), [("train", 0), ("test", 50)])
def test_cifar10_reads_torchvisions_files(
    split: str, first: int, tmp_path: Path, cifar_checksums: Callable[..., Any]
) -> None:
    """Image k of the files is filled with k, k + 1 and k + 2 in red, green and blue: five files of ten and
    a test file.
    """
    write_cifar10(tmp_path, cifar_checksums)
    arrays = cifar10(tmp_path, split)
    assert arrays.images.shape[1:] == (3, 32, 32)
    for channel in range(3):
        assert arrays.images[:, channel, 5, 7].tolist() == [first + channel + k for k in range(len(arrays))]
    assert arrays.labels.tolist() == [(first + k) % 10 for k in range(len(arrays))]


def test_missing_cifar10(tmp_path: Path) -> None:
    """What is missing, and the flag that gets it."""
    with pytest.raises(
        ValueError, match=r"CIFAR-10 is not under .*Fetch it by --config\.data\.download.*data\.root"
    ) as caught:
        cifar10(tmp_path, "train")
    assert str(tmp_path / "cifar-10-batches-py") in str(caught.value)


def test_exact_draws() -> None:
    """Draws of a mixture: shares and moments of the modes; test draws are not the training draws."""
    network = GaussianMixtureScore(
        process=VPSDE(), means=[[0.0, 1.0], [10.0, -1.0]], stds=[0.1, 0.5], weights=[3.0, 1.0]
    )
    train, test = (exact(network, (2,), split, 4000).images for split in ("train", "test"))
    second = train[:, 0] > 5
    assert second.double().mean().item() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 4000))
    assert train[second].mean(0).tolist() == pytest.approx([10.0, -1.0], abs=4 * 0.5 / np.sqrt(1000))
    assert train[second].std(0).tolist() == pytest.approx([0.5, 0.5], rel=4 / np.sqrt(2000))
    assert train[~second].std(0).tolist() == pytest.approx([0.1, 0.1], rel=4 / np.sqrt(6000))
    assert not torch.isclose(train, test).all(1).any()


@pytest.mark.parametrize("centered", [True, False])
def test_dequantised_levels_fill_their_bins(centered: bool) -> None:
    """Level k of 17 is uniform on [k / 17, (k + 1) / 17) of the range, and goes back to k."""
    spec = replace(SPEC, centered=centered)
    images = torch.arange(17, dtype=torch.uint8).repeat(4000, 1)[:, None]
    x = spec.dequantized(images, Noise(0, range(4000), dtype=torch.float64))
    unit = (x + 1) / 2 if centered else x
    place = unit * 17 - torch.arange(17)
    assert float(place.min()) >= 0
    assert float(place.max()) < 1
    assert place.mean((0, 1)).tolist() == pytest.approx([0.5] * 17, abs=4 * np.sqrt(1 / 12 / 4000))
    assert place.var((0, 1)).tolist() == pytest.approx([1 / 12] * 17, rel=0.06)
    assert torch.equal(spec.to_levels(x), images)


@pytest.mark.parametrize("dequantize", [True, False])
@pytest.mark.parametrize("levels", [17, 256])
def test_training_batches_go_back_to_their_levels(levels: int, dequantize: bool) -> None:
    spec = replace(SPEC, levels=levels, dequantize=dequantize)
    images = torch.randint(0, levels, (10, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    x = spec.training_batch(images, Noise(0, range(10))).images
    assert torch.equal(spec.to_levels(x), images)
    if not dequantize:
        assert torch.allclose(x.double(), 2 * images.double() / (levels - 1) - 1, atol=1e-6), (
            "extremes at -1 and 1"
        )


def test_samples_out_of_range_are_clipped() -> None:
    assert SPEC.to_levels(torch.tensor([-3.0, -1.0, 1.0, 3.0])).tolist() == [0, 0, 16, 16]


def test_half_of_the_images_are_mirrored() -> None:
    """Image and its mirror image tell apart; a fair coin, 4 standard errors; the whole image or nothing."""
    spec = replace(SPEC, random_flip=True, dequantize=False)
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8) // 4
    x = spec.to_levels(spec.training_batch(image.repeat(1000, 1, 1, 1), Noise(0, range(1000))).images)
    mirrored = (x == image.flip(-1)).flatten(1).all(1)
    assert torch.equal(mirrored, ~(x == image).flatten(1).all(1))
    assert mirrored.double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(1000))


def test_rows_are_epochs_of_permutations() -> None:
    """Each epoch has every row once and its own order; asking in pieces changes nothing."""
    rows = shuffled_rows(7, 0, 30, 10)
    epochs = rows.reshape(3, 10)
    assert np.array_equal(np.sort(epochs, 1), np.tile(np.arange(10), (3, 1)))
    assert len({tuple(e) for e in epochs}) == 3
    pieces = np.concatenate([shuffled_rows(7, start, 6, 10) for start in range(0, 30, 6)])
    assert np.array_equal(pieces, rows)
    assert not np.array_equal(shuffled_rows(8, 0, 30, 10), rows)


def test_labels_in_turn() -> None:
    assert draw_labels(5, 3, first=4).tolist() == [1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        (
            torch.zeros(2, 1, 9, 8, dtype=torch.uint8),
            {},
            r"shape \(1, 9, 8\) .* says \(1, 8, 8\); set config.data.image_size",
        ),
        (
            torch.full((2, 1, 8, 8), 17, dtype=torch.uint8),
            {},
            "values up to 17, which needs data.levels >= 18",
        ),
        (torch.zeros(2, 1, 8, 8), {}, "values that are continuous: set data.levels=0"),
        (
            torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
            {"levels": 0},
            "values that are of levels: set their number in data.levels",
        ),
    ],
)
def test_data_that_are_not_what_the_configuration_says(
    images: torch.Tensor, changes: dict[str, Any], message: str
) -> None:
    spec = replace(SPEC, loader=lambda split: Arrays(images, torch.zeros(2)), **changes)
    with pytest.raises(ValueError, match=message):
        spec.load("train")


@pytest.mark.parametrize(
    "item",
    [
        torch.arange(6, dtype=torch.uint8).reshape(1, 2, 3),
        np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
    ],
)
def test_items_of_a_users_data_set(item: Any) -> None:
    """A tensor, an array or a grey picture, alone, with its class, or with more behind it: the same sample."""
    for held in (item, (item, 2), (item, 2, "name")):
        assert as_split([held]).read([0]).images.tolist() == [[[[0, 1, 2], [3, 4, 5]]]]
    assert as_split([(item, 2), (item, 0)], labelled=True).labels.tolist() == [2, 0]
    assert as_split([item], labelled=True).labels.tolist() == [-1]
    colour = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    assert as_split([colour]).read([0]).images.tolist() == [[[[0, 3]], [[1, 4]], [[2, 5]]]]
    with pytest.raises(ValueError, match="a sample of a data set is a tensor, an array or an image"):
        as_split([(item,)])


def test_labels_of_packed_data_are_those_of_named_classes(tmp_path: Path) -> None:
    """Of two names label 1 is the last: 2 has none."""
    np.save(tmp_path / "train.npy", np.zeros((3, 1, 2, 2), np.uint8))
    (tmp_path / "train.json").write_text('{"classes": ["cat", "dog"]}')
    np.save(tmp_path / "train.labels.npy", np.array([0, 1, 1]))
    assert npy(tmp_path, "train", 0.0).labels.tolist() == [0, 1, 1]
    np.save(tmp_path / "train.labels.npy", np.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"has labels up to 2, and .*train\.json names 2 classes"):
        npy(tmp_path, "train", 0.0)
