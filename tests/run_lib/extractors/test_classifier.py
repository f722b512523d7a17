"""``--mode extractor`` and the space that it makes: accuracy, the file, what it is refused for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor

from run_lib.config import plans
from run_lib.config.files import load_config_file
from run_lib.data.labels import NO_LABEL
from run_lib.extractors.classifier import ClassifierFeatures, Training
from run_lib.extractors.convolutional import Classifier
from run_lib.preparation.extractor import Labelled, fit, rate, shifted
from tests.run_lib.extractors.fake import CPU
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, program, run, written

SHAPE = (1, 8, 8)
QUICK = {"extractor__n_iters": 200, "extractor__batch_size": 64}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("trained")
    (workdir / "said").write_text(run(TINY, "extractor", workdir, **QUICK).out)
    return workdir


@pytest.fixture
def ours(trained: Path) -> ClassifierFeatures:
    return ClassifierFeatures(SHAPE, 17, CPU, trained / "extractor.safetensors")


def pack(folder: Path, labels: Any, count: int = 40) -> dict[str, Any]:
    """A data set of random images of 8x8 with the given labels."""
    levels = np.random.default_rng(0).integers(0, 17, (count, *SHAPE), dtype=np.uint8)
    for split in ("train", "test"):
        np.save(folder / f"{split}.npy", levels)
        if labels is not None:
            np.save(folder / f"{split}.labels.npy", np.asarray(labels))
    return {"data__dataset": "npy", "data__root": folder}


def test_the_accuracy_is_that_of_the_scores_on_the_test_split(
    trained: Path, ours: ClassifierFeatures
) -> None:
    """Ten classes would be told by chance one time in ten; 200 steps tell most."""
    test = planned(load_config_file(str(TINY)), plans.preparation).data.load("test")
    scores = ours(test.images, ["logits"])["logits"]
    accuracy = (scores.argmax(1) == test.labels.numpy()).mean()
    assert accuracy > 0.85
    said = re.search(r"accuracy +(\d\.\d+) \+- \S+ on (\d+) test images", (trained / "said").read_text())
    assert said is not None
    assert float(said[1]) == pytest.approx(accuracy, abs=5e-5)
    assert f"test accuracy {accuracy:.4f} ({len(test)} images)" in ours.protocol["network"]
    assert int(said[2]) == len(test) < len(load_digits().target)


def test_scores_are_those_of_the_hidden_layer(ours: ClassifierFeatures, trained: Path) -> None:
    levels = planned(load_config_file(str(TINY)), plans.preparation).data.load("test").images[:9]
    found = ours(levels, ["features", "logits"])
    held = load_file(trained / "extractor.safetensors")
    wanted = found["features"] @ held["scores.weight"].numpy().T + held["scores.bias"].numpy()
    np.testing.assert_allclose(found["logits"], wanted, rtol=1e-4, atol=1e-4)
    assert {name: rows.shape[1] for name, rows in found.items()} == dict(ours.dimensions)
    np.testing.assert_array_equal(ours(levels[3:4], ["features"])["features"], found["features"][3:4])


def test_the_same_seed_makes_the_same_file_and_another_seed_another(trained: Path, tmp_path: Path) -> None:
    run(TINY, "extractor", tmp_path, **QUICK, extractor__path=tmp_path / "a" / "mine.safetensors")
    again = (tmp_path / "a" / "mine.safetensors").read_bytes()
    assert again == (trained / "extractor.safetensors").read_bytes()
    assert written(tmp_path) == ["a/mine.safetensors"]
    few = {**QUICK, "extractor__n_iters": 2}
    files = []
    for seed in (42, 1):
        run(TINY, "extractor", tmp_path, **few, seed=seed)
        files.append(load_file(tmp_path / "extractor.safetensors"))
    assert not torch.equal(files[0]["scores.weight"], files[1]["scores.weight"])


def test_the_file_says_what_it_was_trained_on(trained: Path) -> None:
    held = Training.of(trained / "extractor.safetensors")
    assert (held.data, held.shape, held.levels, held.classes) == ("digits", SHAPE, 17, 10)
    assert (held.n_iters, held.seed, held.features) == (200, 42, 64)
    assert held.images + held.test_images == len(load_digits().target)


def test_images_are_centred_and_scaled_by_the_training_split(trained: Path) -> None:
    """By channel, of all of its images where they are few."""
    levels = planned(load_config_file(str(TINY)), plans.preparation).data.load("train").images.double()
    held = load_file(trained / "extractor.safetensors")
    assert held["mean"].item() == pytest.approx(levels.mean().item(), rel=1e-6)
    assert held["std"].item() == pytest.approx(levels.std().item(), rel=1e-6)


def test_training_draws_from_its_seed_alone_and_sees_shifted_images(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(load_config_file(str(TINY)), plans.extractor, {"extractor__n_iters": 3})
    train = Labelled.of(plan.data.load("train"))
    seen: list[Tensor] = []

    def noted(images: Tensor, rng: np.random.Generator) -> Tensor:
        seen.append(shifted(images, rng))
        return seen[-1]

    monkeypatch.setattr("run_lib.preparation.extractor.shifted", noted)
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(fit(plan, train, 10))
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(seen) == 6
    assert not networks[0].training


@pytest.mark.parametrize(
    ("labels", "said"),
    [(None, "has no labels"), ([NO_LABEL] * 40, "has no labels"), ([3] * 40, "has one class")],
)
def test_data_without_classes_are_refused(labels: Any, said: str, tmp_path: Path) -> None:
    error = program("--config", TINY, "--mode", "extractor", "--workdir", tmp_path / "run", **pack(tmp_path, labels),
                    **QUICK).error  # fmt: skip
    assert said in error and "pixels and pca" in error
    assert not written(tmp_path / "run")


def test_images_without_a_label_are_left_out(tmp_path: Path) -> None:
    labels = [NO_LABEL, 0, 1, 2] * 10
    run(TINY, "extractor", tmp_path / "run", **pack(tmp_path, labels), **{**QUICK, "extractor__n_iters": 2})
    held = Training.of(tmp_path / "run" / "extractor.safetensors")
    assert (held.images, held.test_images, held.classes) == (30, 30, 3)


def test_data_that_are_no_images_are_refused(tmp_path: Path) -> None:
    error = program("--config", "toy/gaussian_2d", "--mode", "extractor", "--workdir", tmp_path).error
    assert "these data have the shape (2,)" in error


@pytest.mark.parametrize(("shape", "levels"), [((1, 9, 9), 17), (SHAPE, 256)])
def test_other_data_are_refused(shape: tuple[int, ...], levels: int, trained: Path) -> None:
    with pytest.raises(ValueError, match=r"was trained on digits, of shape \(1, 8, 8\), 17 levels"):
        ClassifierFeatures(shape, levels, CPU, trained)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    for weights in (None, tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(ValueError, match="train one with --mode extractor, and name its file"):
            ClassifierFeatures(SHAPE, 17, CPU, weights)


def test_files_of_something_else_are_refused(trained: Path, tmp_path: Path) -> None:
    tensors = load_file(trained / "extractor.safetensors")
    path = tmp_path / "other.safetensors"
    for metadata, said in [
        (None, "is no file of a classifier"),
        ({"score_pc.classifier": json.dumps({"shape": [1]})}, "states other facts"),
    ]:
        save_file(tensors, path, metadata)
        with pytest.raises(ValueError, match=said):
            ClassifierFeatures(SHAPE, 17, CPU, path)
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="is no file of a classifier"):
        ClassifierFeatures(SHAPE, 17, CPU, tmp_path / "other.pth")


@pytest.mark.parametrize(("side", "sizes"), [(8, 4), (28, 7), (32, 4), (5, 5)])
def test_maps_are_halved_down_to_four(side: int, sizes: int) -> None:
    network = Classifier((2, side, side), 6, 3)
    assert network.trunk[-2].in_features % sizes**2 == 0
    images = torch.zeros(2, 2, side, side, dtype=torch.uint8)
    assert network(images).shape == (2, 3)


def test_shifts_are_by_whole_pixels_with_the_border_repeated() -> None:
    levels = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(500, 1, 8, 8)
    found = shifted(levels, np.random.default_rng(0))
    padded = np.pad(levels[0, 0].numpy(), 1, mode="edge")
    nine = {padded[i : i + 8, j : j + 8].tobytes() for i in range(3) for j in range(3)}
    assert {one.numpy().tobytes() for one in found[:, 0].contiguous()} == nine


def test_the_rate_rises_and_falls() -> None:
    rates = Tensor([rate(share) for share in np.linspace(0, 1, 101)])
    assert rates.min() >= 0 and 0.85 < rates.max() <= 1
    peak = int(rates.argmax())
    assert (rates.diff()[:peak] > 0).all() and (rates.diff()[peak:] < 0).all()
