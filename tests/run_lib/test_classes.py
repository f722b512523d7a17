"""Classes by name: the training split numbers them, checkpoints remember the names, and everything else follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoints.loader import read
from models.ema import EMA
from run_lib.config import plans
from run_lib.data.base_images import BaseImages
from run_lib.data.classes import Numbering, numbered, numbered_as
from run_lib.data.images import Fitting
from run_lib.data.inputs import open_inputs
from run_lib.data.levels import Arrays, DataSpec
from run_lib.data.listing import what_was_read
from run_lib.data.sources import imagenet
from run_lib.editing import interpolation
from run_lib.evaluation.report import Report
from run_lib.evaluation.task import CheckpointTask
from run_lib.run import Run
from run_lib.training.labels import RequestedClasses
from run_lib.training.state import Weights
from sde_lib.base import Process
from tests.run_lib.pictures import save
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, Outcome, numbers, program, run
from tests.run_lib.test_tasks import CLASSIFIER
from tests.run_lib.tiny import get_config as tiny

BRIGHTNESS = {"cat": 0, "dog": 120, "eel": 180, "owl": 240}
FOLDERS: dict[str, Any] = {"data__dataset": "imagenet", "data__levels": 256, "model__num_classes": 3}
LOSS: dict[str, Any] = {"eval__enable_loss": True, "eval__enable_bpd": False, "eval__enable_sampling": False}
NETWORK = {key: CLASSIFIER[key] for key in ("training__task", "model__name", "model__pool",
                                            "model__num_head_channels", "eval__enable_bpd")}  # fmt: skip


def write(root: Path, **splits: str) -> Path:
    """A data set of 8x8 grey images, three of each class, all of one brightness that tells the class."""
    for split, names in splits.items():
        for name in names.split():
            for k in range(3):
                pixels = np.full((8, 8), BRIGHTNESS[name] + k, np.uint8)
                save(root / "imagenet" / split / name / f"{k}.png", pixels)
    return root


def spec(root: Path, **changes: Any) -> DataSpec:
    def loader(split: str) -> Arrays:
        return imagenet(root, split, (1, 8, 8), 256)

    fields = {"shape": (1, 8, 8), "levels": 256, "centered": False, "dequantize": False, "random_flip": False}
    return DataSpec(**{"name": "imagenet", "loader": loader, "density": None, **fields, **changes})


def test_the_training_split_numbers_the_classes(tmp_path: Path) -> None:
    write(tmp_path, train="owl cat dog", test="cat owl")
    train, test = (imagenet(tmp_path, split, (1, 8, 8), 256) for split in ("train", "test"))
    assert train.classes == test.classes == ("cat", "dog", "owl")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert test.labels.tolist() == [0, 0, 0, 2, 2, 2]
    assert what_was_read("it", test) == "it: 6 images; 3 classes: cat 3, dog 0, owl 3"
    larger, smaller = (imagenet(tmp_path, "test", (1, side, side), 256) for side in (16, 4))
    assert what_was_read("it", larger).endswith("; the first has 8 x 8 pixels, and is enlarged to 16 x 16")
    assert what_was_read("it", smaller).endswith("owl 3")


@dataclass(frozen=True)
class ByBrightness:
    """A classifier of cat, dog and owl that is never wrong."""

    process: Process

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        levels = torch.tensor([BRIGHTNESS[name] for name in ("cat", "dog", "owl")])
        return -((x.mean((1, 2, 3))[:, None] + 1) * 127.5 - levels).abs()


def test_accuracy_of_a_test_split_that_lacks_a_class(tmp_path: Path) -> None:
    """1; with classes numbered by the test split alone, owls would count as dogs: 0.5."""
    write(tmp_path, train="cat dog owl", test="cat owl")
    fields = {**CLASSIFIER, **FOLDERS, "data__root": str(tmp_path), "eval__accuracy_levels": 1}
    plan = planned(tiny(), plans.evaluation, fields)
    plan = replace(plan, objective=replace(plan.objective, model=ByBrightness(plan.objective.model.process)))
    weights = Weights(plan.subject.network, EMA(plan.subject.network, 0.9))
    report = Report(tmp_path / "report.json")
    (accuracy,) = (one for one in plan.evaluations if one.of_classifiers)
    accuracy.evaluate(CheckpointTask(plan, weights, report, tmp_path / "parts"))
    assert [number.value for number in report] == [1.0]


def test_a_class_that_training_lacks(tmp_path: Path) -> None:
    """An error that names it, where labels mean something; a model without classes takes any folders."""
    write(tmp_path, train="cat owl", test="cat eel owl")
    message = (
        r"the test split of imagenet has the class 'eel', which its training split lacks: its classes are 'cat', "
        r"'owl'\. Take the folder out"
    )
    with pytest.raises(ValueError, match=message):
        spec(tmp_path, labelled=True).load("test")
    assert len(spec(tmp_path).load("test")) == 9


def test_renumbering() -> None:
    """Label k of (b, a) is that of the same name in (a, b, c); a label that is not known stays so."""
    held = Arrays(torch.zeros(4, 1), torch.tensor([0, 1, -1, 1]), ("b", "a")).as_split()
    assert numbered_as(held, ("a", "b", "c")).labels.tolist() == [1, 0, -1, 0]
    strange = numbered_as(held, ("a", "c"))
    assert (strange.classes, strange.strange) == (("a", "c", "b"), 1)
    assert strange.labels.tolist() == [2, 0, -1, 0]


def test_sources_that_disagree() -> None:
    """The first label that differs is named, with who says what; a source that does not know says nothing."""
    held = Numbering().agreed(Numbering(("cat", "dog"), "a")).agreed(Numbering((), "nobody"))
    assert held.agreed(Numbering(("cat", "dog"), "b")) == held == Numbering(("cat", "dog"), "a")
    with pytest.raises(
        ValueError, match=r"label 1 is 'dog' in a, and 'eel' in c.*'cat', 'dog' and 'cat', 'eel'"
    ):
        held.agreed(Numbering(("cat", "eel"), "c"))
    with pytest.raises(ValueError, match="label 2 is no class in a, and 'owl' in d"):
        held.agreed(Numbering(("cat", "dog", "owl"), "d"))
    with pytest.raises(ValueError, match="label 1 is 'dog' in a, and no class in e"):
        held.agreed(Numbering(("cat",), "e"))


def test_classes_are_asked_for_by_name() -> None:
    numbering = Numbering(("cat", "dog", "owl"), "a")
    asked = RequestedClasses(3, ("owl", "cat", 1))
    with pytest.raises(ValueError, match="asks for the class 'owl', and the weights do not say"):
        asked.of([0])
    assert numbered(asked, numbering).of([0, 1, 2, 3]).tolist() == [2, 0, 1, 2]
    with pytest.raises(ValueError, match="asks for the class 'eel', and the classes are 'cat', 'dog', 'owl'"):
        RequestedClasses(3, ("eel",), numbering).of([0])


def test_base_samples_and_inputs_have_the_networks_numbers(tmp_path: Path) -> None:
    """Also where its weights are loaded after the images."""
    write(tmp_path, test="cat owl")
    held = spec(tmp_path, labelled=True)
    base = BaseImages(str(tmp_path / "imagenet/test"), held, (8, 8), num_classes=3)
    inputs = open_inputs("test", "config.control.input", held, Fitting(False, False))
    assert [inputs.label(k) for k in (0, 5)] == base.of([0, 5]).labels.tolist() == [0, 1]
    base, inputs = numbered((base, inputs), Numbering(("cat", "dog", "owl"), "the weights"))
    assert [inputs.label(k) for k in (0, 5)] == base.of([0, 5]).labels.tolist() == [0, 2]


@dataclass(frozen=True)
class Trained:
    """A model of the classes cat, dog and owl, trained for two steps.

    Attributes:
        folder: its work directory.
        root: of its data.
        printed: by the training.
    """

    folder: Path
    root: Path
    printed: str

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints/step_00000002.pt"

    def program(self, mode: str, workdir: Path | None = None, **fields: Any) -> Outcome:
        chosen = {**FOLDERS, "training__n_iters": 2, "data__root": self.root, **fields}
        return program("--config", TINY, "--mode", mode, "--workdir", workdir or self.folder, **chosen)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("classes")
    root = write(folder / "data", train="cat dog owl", test="cat owl")
    (root / "imagenet/train/cat/notes.txt").touch()
    made = run(TINY, "train", folder / "run", **FOLDERS, data__root=root, training__n_iters=2)
    return Trained(folder / "run", root, made.out)


def test_names_are_stored_and_printed(trained: Trained) -> None:
    """In the checkpoint, at the start of training, in the report, in weights that are converted."""
    assert torch.load(trained.checkpoint)["classes"] == ["cat", "dog", "owl"]
    assert (
        "imagenet, train split: 9 images; 3 classes: cat 3, dog 3, owl 3; 1 file left out (1 .txt)"
        in trained.printed
    )
    assert "imagenet, test split: 6 images; 3 classes: cat 3, dog 0, owl 3" in trained.printed
    line = "classes of labels 0 to 2: 'cat', 'dog', 'owl'"
    assert line in trained.program("eval", **LOSS).out
    assert json.loads((trained.folder / "eval/report.json").read_text())["classes"] == ["cat", "dog", "owl"]
    trained.program("convert", convert__to="safetensors")
    assert read(trained.folder / "converted/safetensors_00000002.safetensors")["classes"] == [
        "cat",
        "dog",
        "owl",
    ]


def test_training_from_weights_that_know_their_classes(trained: Trained, tmp_path: Path) -> None:
    """An eel would have been what the network was told an owl is."""
    root = write(tmp_path, train="cat dog eel", test="cat")
    error = trained.program("train", tmp_path / "new", init_from=trained.checkpoint, data__root=root).error
    assert "the train split of imagenet has the class 'eel', which" in error


def test_data_elsewhere_are_numbered_by_the_checkpoint(trained: Trained, tmp_path: Path) -> None:
    """A folder of test images alone: its owls are what the network was told of as 2."""
    root = write(tmp_path, test="dog owl")
    fields = {**FOLDERS, "training__n_iters": 2}
    plan = planned(tiny(), plans.evaluation, {**fields, "data__root": str(root)})
    assert plan.data.load("test").labels.tolist() == [0, 0, 0, 1, 1, 1]
    plan = numbered(plan, Run(trained.folder).weights(plan.subject).numbering)
    assert plan.data.load("test").labels.tolist() == [1, 1, 1, 2, 2, 2]
    write(root, test="eel")
    error = trained.program("eval", data__root=root, **LOSS).error
    assert "the test split of imagenet has the class 'eel', which " in error
    assert "step_00000002.pt lacks: its classes are 'cat', 'dog', 'owl'" in error


def test_training_goes_on_with_the_same_classes(trained: Trained, tmp_path: Path) -> None:
    """An eel would have been what the network was told an owl is."""
    root = write(tmp_path, train="cat dog eel", test="cat")
    error = trained.program("train", training__n_iters=3, data__root=root).error
    assert (
        "the train split of imagenet has the class 'eel', which the checkpoint that training goes on" in error
    )


def test_a_strange_class_of_the_test_split_stops_a_training(tmp_path: Path) -> None:
    """Of a network that is told classes, at its start; shards of a data set without classes may be called anything."""
    root = write(tmp_path, train="cat dog owl", test="cat eel")
    fields = {**FOLDERS, "data__root": root, "training__n_iters": 1}
    error = program("--config", TINY, "--mode", "train", "--workdir", tmp_path / "a", **fields).error
    assert "the test split of imagenet has the class 'eel', which its training split lacks" in error
    run(TINY, "train", tmp_path / "b", **{**fields, "model__num_classes": 0})
    assert torch.load(tmp_path / "b/checkpoints/step_00000001.pt")["classes"] == []


def copied(trained: Trained, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A work directory with the same checkpoint, but for a change."""
    held = torch.load(trained.checkpoint)
    change(held)
    (folder / "checkpoints").mkdir()
    torch.save(held, folder / "checkpoints" / trained.checkpoint.name)
    return folder


def test_checkpoints_without_names_are_read_as_before(trained: Trained, tmp_path: Path) -> None:
    workdir = copied(trained, tmp_path, lambda held: held.pop("classes"))
    assert trained.program("eval", workdir, **LOSS).status == 0
    assert trained.program("eval", **LOSS).status == 0
    assert numbers(workdir)["loss/test"]["value"] == numbers(trained.folder)["loss/test"]["value"]


def test_names_that_are_none_are_refused(trained: Trained, tmp_path: Path) -> None:
    workdir = copied(trained, tmp_path, lambda held: held.update(classes=[1, 2]))
    assert "lacks classes of what a checkpoint holds" in trained.program("eval", workdir, **LOSS).error


def test_weights_to_start_from_know_their_classes(trained: Trained, tmp_path: Path) -> None:
    """Samples of ``init_from`` are asked for by the names of its checkpoint."""
    fields = {"init_from": trained.checkpoint, "sampling__num_samples": 1, "guidance__labels": "('owl',)"}
    assert trained.program("sample", tmp_path, **fields).status == 0
    with np.load(tmp_path / "samples/samples.npz") as held:
        assert held["arr_1"].tolist() == [2]
    fields["guidance__labels"] = "('eel',)"
    assert "guidance.labels asks for the class 'eel'" in trained.program("sample", tmp_path, **fields).error


@pytest.mark.slow
def test_a_classifier_of_other_classes_is_refused(trained: Trained, tmp_path: Path) -> None:
    """With their names; one of the same classes guides."""
    fields: dict[str, Any] = {"guidance__name": "classifier", "sampling__num_samples": 1}
    for name, classes in (("same", "cat dog owl"), ("other", "cat eel owl")):
        root = write(tmp_path / name, train=classes, test="cat")
        run(
            TINY,
            "train",
            tmp_path / f"run_{name}",
            **{**FOLDERS, **NETWORK},
            data__root=root,
            training__n_iters=1,
        )
    found = trained.program("sample", guidance__classifier=tmp_path / "run_same", **fields)
    assert found.status == 0, found.err
    error = trained.program("sample", guidance__classifier=tmp_path / "run_other", **fields).error
    assert f"label 1 is 'eel' in the classifier {tmp_path / 'run_other'}, and 'dog' in " in error


def test_images_are_interpolated_as_the_class_that_the_weights_know(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of test images alone: the network was told of owls as 2, whatever number a folder of owls alone gives them."""
    told: list[list[int]] = []
    whole = interpolation.interpolate

    def watched(*args: Any, **kwargs: Any) -> Any:
        told.append(kwargs["y"].tolist())
        return whole(*args, **kwargs)

    monkeypatch.setattr(interpolation, "interpolate", watched)
    fields = {"control__task": "interpolate", "control__input": "test", "control__frames": 2}
    root = write(tmp_path, test="owl")
    outcome = trained.program("control", data__root=root, control__output=tmp_path / "out", **fields)
    assert outcome.status == 0, outcome.err
    assert told == [[2]]


def test_what_is_numbered_is_made_anew(tmp_path: Path) -> None:
    """A plan keeps the numbers with which it was made; what it shares stays shared, and a model is not copied."""
    root = write(tmp_path, train="cat dog owl", test="dog owl")
    fields = {**FOLDERS, "data__root": str(root), "guidance__labels": ("owl",)}
    plan = planned(tiny(), plans.evaluation, fields)
    made = numbered(plan, Numbering(("owl", "cat", "dog"), "the weights"))
    assert plan.data.numbering == Numbering()
    assert plan.data.load("test").labels.tolist() == [1, 1, 1, 2, 2, 2]
    assert made.data.load("test").labels.tolist() == [2, 2, 2, 0, 0, 0]
    assert made.data is made.subject.data is made.sampling.data
    assert made.sampling.task.requested.of([0]).tolist() == [0]
    assert made.subject.network is plan.subject.network
    assert made.sampling.sampler is plan.sampling.sampler
    assert numbered(plan, Numbering()) is plan
    assert all(kind.__dataclass_params__.frozen for kind in (type(plan), Numbering))
