"""Guidance through the program: label dropout, classifiers of other runs, what reports say, and every mistake."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from run_lib.config import plans
from run_lib.config.training import TrainingPlan
from run_lib.training.steps import make_batches, training_losses
from tests.run_lib.planned import planned
from tests.run_lib.program import ROOT, TINY, numbers, program, run, written
from tests.run_lib.test_tasks import BOUND, CHAIN, CLASSIFIER
from tests.run_lib.tiny import get_config as tiny

MIXTURE = ROOT / "configs/toy/mixture_2d.py"
DROPPING: dict[str, Any] = {"model__num_classes": 10, "training__label_dropout": 0.3}
FREE: dict[str, Any] = {**DROPPING, "guidance__name": "classifier_free", "guidance__scale": 2.0}
CONTINUOUS: dict[str, Any] = {
    "training__task": "classifier", "model__name": "adm_encoder", "model__pool": "attention",
    "model__num_classes": 10, "model__num_head_channels": 4, "eval__enable_accuracy": True,
    "eval__enable_bpd": False, "eval__enable_sampling": False,
}  # fmt: skip


def training(**fields: Any) -> TrainingPlan:
    plan: TrainingPlan = planned(tiny(), plans.training, fields)
    return plan


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Work directories of classifiers of the continuous process and of the chain, hardly trained."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("continuous", "chain")}
    run(TINY, "train", folders["continuous"], **CONTINUOUS)
    run(TINY, "train", folders["chain"], **CLASSIFIER)
    return folders


# Label dropout -------------------------------------------------------------------------------------


def told(plan: TrainingPlan, steps: int, *, parts: int = 1) -> torch.Tensor:
    """The labels that the network is told in a number of training steps, the batch in so many parts."""
    seen: list[torch.Tensor] = []
    plan.subject.network.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(kwargs["y"]), with_kwargs=True
    )
    batches, size = make_batches(plan), plan.settings.batch_size
    for step in range(steps):
        for part in range(parts):
            rows = range(part * size // parts, (part + 1) * size // parts)
            training_losses(plan, batches, step, rows)
    return torch.cat(seen)


def test_a_share_of_the_labels_is_withheld() -> None:
    """0.3 of 1000 labels, five standard errors sqrt(0.3 0.7 / 1000); the others are the data's."""
    dropped = told(training(**DROPPING, training__batch_size=500), 2)
    kept = told(training(model__num_classes=10, training__batch_size=500), 2)
    withheld = dropped == 10
    assert float(withheld.double().mean()) == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / 1000) ** 0.5)
    assert torch.equal(dropped[~withheld], kept[~withheld])
    assert int(kept.max()) == 9


def test_which_labels_are_withheld_depends_on_seed_and_step_alone() -> None:
    e = training(**DROPPING, training__batch_size=60)
    whole = told(e, 2)
    assert not torch.equal((whole == 10)[:60], (whole == 10)[60:])
    assert torch.equal(told(training(**DROPPING, training__batch_size=60), 2, parts=3), whole)


def test_the_networks_embedding_has_a_row_for_no_label() -> None:
    assert training(**DROPPING).subject.network.label_embed.num_embeddings == 11  # type: ignore[union-attr]
    assert training(model__num_classes=10).subject.network.label_embed.num_embeddings == 10  # type: ignore[union-attr]


@pytest.mark.slow
def test_training_with_label_dropout_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Six steps at once, and three and three: the same weights, bit for bit."""
    settings = {**DROPPING, "training__snapshot_freq_for_preemption": 3}
    run(TINY, "train", tmp_path / "whole", **settings)
    run(TINY, "train", tmp_path / "parts", **{**settings, "training__n_iters": 3})
    run(TINY, "train", tmp_path / "parts", **settings)
    whole, parts = (
        torch.load(tmp_path / w / "checkpoints/step_00000006.pt", weights_only=True)
        for w in ("whole", "parts")
    )
    assert all(torch.equal(whole["model"][n], parts["model"][n]) for n in whole["model"])
    assert all(
        torch.equal(whole["ema"]["shadow"][n], parts["ema"]["shadow"][n]) for n in whole["ema"]["shadow"]
    )


# Sampling ------------------------------------------------------------------------------------------


def held(workdir: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(workdir / "samples" / "samples.npz") as samples:
        return samples["arr_0"], samples["arr_1"]


@pytest.mark.slow
def test_labels_are_asked_for_in_turn_whatever_the_batch(tmp_path: Path) -> None:
    """Of 6 samples, 4 and 2 in a batch or all; the same images, and twice the evaluations."""
    run(TINY, "train", tmp_path, **FREE)
    out = run(TINY, "sample", tmp_path, **FREE, guidance__labels="(7,3)").out
    assert "6 samples, 6 network evaluations each" in out
    images, labels = held(tmp_path)
    assert labels.tolist() == [7, 3, 7, 3, 7, 3]
    run(TINY, "sample", tmp_path, **FREE, guidance__labels="(7,3)", sampling__batch_size=6)
    assert np.abs(held(tmp_path)[0].astype(int) - images).max() <= 1  # rounding may tip a level
    run(TINY, "sample", tmp_path, **FREE)
    assert held(tmp_path)[1].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_classifier_of_another_run_guides_sampling_and_likelihood(
    classifiers: dict[str, Path], tmp_path: Path
) -> None:
    """An unconditional model: its samples have labels, and its bits/dim are those of the guided flow.

    The likelihood needs second derivatives through convolutions, group norms and an attention pool.
    """
    run(TINY, "train", tmp_path)
    guided = {
        "guidance__name": "classifier", "guidance__classifier": classifiers["continuous"], "guidance__scale": 5.0,
        "eval__enable_sampling": False, "eval__enable_loss": False, "eval__bpd_num_images": 2, "eval__bpd_probes": 2,
    }  # fmt: skip
    run(TINY, "sample", tmp_path, **guided)
    assert held(tmp_path)[1].tolist() == [0, 1, 2, 3, 4, 5]
    run(TINY, "eval", tmp_path, **guided)
    found = numbers(tmp_path)["bpd/test"]
    assert found["note"].endswith("the guided flow's own density (classifier, scale 5), not p(x | labels)")
    assert np.isfinite(found["value"])


@pytest.mark.slow
@pytest.mark.parametrize("shift", ["score", "mean"])
def test_a_classifier_guides_a_chain(shift: str, classifiers: dict[str, Path], tmp_path: Path) -> None:
    """As ADM's, and given one of the run's checkpoints instead of its folder."""
    run(TINY, "train", tmp_path, **CHAIN)
    checkpoint = classifiers["chain"] / "checkpoints" / "step_00000006.pt"
    guided = {
        **CHAIN,
        "guidance__name": "classifier",
        "guidance__classifier": checkpoint,
        "guidance__shift": shift,
    }
    run(TINY, "sample", tmp_path, **guided, guidance__scale=1000.0)
    strong = held(tmp_path)[0]
    run(TINY, "sample", tmp_path, **guided, guidance__scale=0.0)
    weak = held(tmp_path)[0]
    run(TINY, "sample", tmp_path, **CHAIN)
    with np.load(tmp_path / "samples" / "samples.npz") as plain:
        assert (plain["arr_0"] == weak).all()
    assert (strong != weak).any()


@pytest.mark.slow
def test_published_weights_need_their_configuration(classifiers: dict[str, Path], tmp_path: Path) -> None:
    """safetensors of the same weights beside a configuration file: the same samples as from the checkpoint."""
    run(TINY, "convert", classifiers["chain"], **CLASSIFIER, convert__to="safetensors",
        convert__path=tmp_path / "classifier.safetensors")  # fmt: skip
    settings = "\n".join(
        f"    config.{field.replace('__', '.')} = {value!r}" for field, value in CLASSIFIER.items()
    )
    (tmp_path / "theirs.py").write_text(
        f"from tests.run_lib.tiny import get_config as tiny\ndef get_config():\n    config = tiny()\n{settings}\n"
        f"    return config\n"
    )
    run(TINY, "train", tmp_path / "model", **CHAIN)
    guided = {**CHAIN, "guidance__name": "classifier", "guidance__scale": 100.0}
    images = []
    for theirs in (
        {"guidance__classifier": classifiers["chain"]},
        {
            "guidance__classifier": tmp_path / "classifier.safetensors",
            "guidance__classifier_config": tmp_path / "theirs.py",
        },
    ):
        run(TINY, "sample", tmp_path / "model", **guided, **theirs)
        images.append(held(tmp_path / "model")[0])
    assert (images[0] == images[1]).all()


PLUGIN = """
from samplers.guidance import register_denoised_loss, register_log_prob

@register_log_prob(name="right_of_one")
def to_the_right(x, t):
    return x[:, 0]

@register_denoised_loss
def OnTheAxis(x0):
    return x0[:, 1].square()
"""


def test_functions_of_a_plugin_guide_by_name(tmp_path: Path) -> None:
    """Eight points of the unit circle: pulled to the right, or to y = 0, where two of them are."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    settings = {"plugins": tmp_path / "mine.py", "sampling__num_samples": 100, "sampling__num_steps": 20}
    spread = {}
    for name in ("none", "right_of_one", "on_the_axis"):
        scale = {"right_of_one": 3.0, "on_the_axis": 5.0, "none": 1.0}[name]
        run(MIXTURE, "sample", tmp_path / name, **settings, guidance__name=name, guidance__scale=scale)
        with np.load(tmp_path / name / "samples" / "samples.npz") as samples:
            spread[name] = samples["arr_0"]
    assert spread["right_of_one"][:, 0].mean() > 0.5 > abs(spread["none"][:, 0].mean())
    assert np.abs(spread["on_the_axis"][:, 1]).mean() < 0.5 * np.abs(spread["none"][:, 1]).mean()


# What reports say ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says", "conditional"),
    [
        ({"model__num_classes": 8}, "p(x | labels), labels given", True),
        (
            {"guidance__name": "classifier", "guidance__classifier": "exact"},
            "the guided flow's own density (classifier, scale 1): p(x | labels) as far as the classifier is the "
            "model's own",
            True,
        ),
        ({"model__num_classes": 8, "guidance__name": "classifier_free"}, "p(x | labels), labels given", True),
        (
            {"model__num_classes": 8, "guidance__name": "classifier_free", "guidance__scale": 2.0},
            "the guided flow's own density (classifier_free, scale 2), not p(x | labels)",
            False,
        ),
        ({}, "", False),
    ],
    ids=["conditional", "classifier", "free_1", "free_2", "none"],
)
def test_the_report_says_what_the_likelihood_is_of(
    settings: dict[str, Any], says: str, conditional: bool, tmp_path: Path
) -> None:
    """The mixture's exact score: where it is p(x | y), the flow gives the closed form, per sample to 0.02 nats."""
    run(MIXTURE, "eval", tmp_path, **settings, eval__bpd_num_images=20, eval__enable_sampling=False)
    found = numbers(tmp_path)
    assert found["nats/test"]["note"].endswith(says)
    assert ("p(x" in found["nats/test"]["note"]) == bool(settings)
    assert found["nats/test, exact"]["note"].startswith(
        "reference: p(x | labels)" if settings else "reference: p(x) "
    )
    difference = abs(found["nats/test"]["value"] - found["nats/test, exact"]["value"])
    if conditional or not settings:
        assert difference < 0.02
    else:
        assert difference > 0.1


@pytest.mark.slow
def test_the_bound_says_that_it_is_not_guided(tmp_path: Path) -> None:
    run(TINY, "train", tmp_path, **{**CHAIN, **FREE})
    settings = {**BOUND, **FREE, "eval__enable_sampling": False, "eval__enable_loss": False}
    run(TINY, "eval", tmp_path, **settings, eval__bpd_num_images=2)
    note = numbers(tmp_path)["vlb/test"]["note"]
    assert note.endswith("of the model without guidance: p(x | labels), labels given")


# Mistakes ------------------------------------------------------------------------------------------

WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    ("name", {"guidance__name": "clasifier"},
     ["unknown guidance 'clasifier'; registered: ", "Did you mean 'classifier'?"]),
    ("no classifier", {"guidance__name": "classifier"},
     ["needs a classifier: set guidance.classifier to the work directory"]),
    ("classifier missing", {"guidance__name": "classifier", "guidance__classifier": "no/where"},
     ["guidance.classifier='no/where' is no checkpoint and no work directory that has one", "--mode train"]),
    ("exact of a network", {"guidance__name": "classifier", "guidance__classifier": "exact"},
     ["guidance.classifier='exact' is known of model.name='gaussian_mixture' alone"]),
    ("free without classes", {"guidance__name": "classifier_free"},
     ["needs a network with classes: set model.num_classes and training.label_dropout"]),
    ("free without dropout", {"guidance__name": "classifier_free", "model__num_classes": 10},
     ["train with training.label_dropout (0.1, say), which is now 0"]),
    ("dropout without classes", {"training__label_dropout": 0.1}, ["there are none: set model.num_classes"]),
    ("dropout of a classifier", {**CONTINUOUS, "training__label_dropout": 0.1}, ["training.task='diffusion'"]),
    ("dropout", {"model__num_classes": 10, "training__label_dropout": 1.0},
     ["diffusion's label_dropout lies in [0, 1), got 1.0", "config.training.label_dropout"]),
    ("label", {**FREE, "guidance__labels": "(3,10)"},
     ["guidance.labels=(3, 10) must be some of the 10 classes 0 to 9"]),
    ("negative label", {**FREE, "guidance__labels": "(-1,)"}, ["config.guidance.labels must be at least 0, got -1"]),
    ("labels without classes", {"guidance__labels": "(3,)"}, ["guidance.labels asks for classes, and there are"]),
    ("scale", {**FREE, "guidance__scale": "nan"}, ["guidance's scale is a finite number, got nan"]),
    ("interval", {**FREE, "guidance__interval": "(2.0,1.0)"}, ["0 <= low < high; got (2.0, 1.0)"]),
    ("interval of three", {**FREE, "guidance__interval": "(1.0,2.0,3.0)"}, ["is (low, high) of sigma/alpha; got"]),
    ("rescale", {**FREE, "guidance__rescale": 2.0}, ["rescale is a share in [0, 1], got 2.0"]),
    ("setting of another", {**FREE, "guidance__shift": "mean"},
     ["config.guidance.shift is set, but guidance 'classifier_free' does not take it", "guidance.name='classifier'"]),
    ("setting of none", {"guidance__interval": "(1.0,2.0)"}, ["config.guidance.interval is set", "leave it unset"]),
    ("guided classifier", {**CONTINUOUS, "guidance__name": "classifier_free"},
     ["guides a model of data, and training.task='classifier' is none"]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "messages"), [pytest.param(v, m, id=name) for name, v, m in WRONG])
def test_wrong_guidance(values: dict[str, Any], messages: list[str], tmp_path: Path) -> None:
    """One error that says what was wrong and what to do, before any work."""
    error = program("--config", TINY, "--mode", "all", "--workdir", tmp_path / "run", **values).error
    for message in messages:
        assert message in error
    assert len(error) < 700
    assert written(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            "chain",
            {},
            "was trained with another process (training.sde='ddpm', continuous=True, num_scales=20, ",
        ),
        ("continuous", CHAIN, "was trained with another process (training.sde='vpsde'"),
        (
            "chain",
            {**CHAIN, "model__num_scales": 30},
            "num_scales=20, beta_schedule='cosine') than the model has",
        ),
        ("chain", {**CHAIN, "model__beta_schedule": "linear"}, "was trained with another process"),
        ("continuous", {"model__beta_max": 10.0}, "was trained with another process"),
        (
            "continuous",
            {"data__centered": False},
            "was trained on other data, of shape (1, 8, 8), 17 levels, ",
        ),
        (
            "continuous",
            {"data__levels": 18},
            "17 levels, centered=True; the model's are of shape (1, 8, 8), 18",
        ),
        ("continuous", {"model__num_classes": 11}, "tells 10 classes apart, the model has 11"),
        (
            "continuous",
            {"guidance__shift": "mean"},
            "set sampling.method='pc' and sampling.predictor='ancestral_",
        ),
        ("continuous", {"guidance__shift": "x"}, "classifier's shift is 'score' or 'mean', got 'x'"),
        ("continuous", {"guidance__labels": "(10,)"}, "must be some of the 10 classes 0 to 9"),
    ],
)
def test_a_classifier_that_does_not_fit(
    kind: str, values: dict[str, Any], message: str, classifiers: dict[str, Path], tmp_path: Path
) -> None:
    settings = {**values, "guidance__name": "classifier", "guidance__classifier": classifiers[kind]}
    error = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run", **settings).error
    assert message in error
    assert written(tmp_path / "run") == []


def test_a_run_that_is_no_classifiers(tmp_path: Path) -> None:
    run(TINY, "train", tmp_path / "diffusion")
    settings = {"guidance__name": "classifier", "guidance__classifier": tmp_path / "diffusion"}
    error = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run", **settings).error
    assert "is a run with training.task='diffusion', no classifier's" in error
    (tmp_path / "broken" / "checkpoints").mkdir(parents=True)
    shutil.copy(TINY, tmp_path / "broken" / "checkpoints" / "step_00000001.pt")
    settings["guidance__classifier"] = tmp_path / "broken"
    error = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run", **settings).error
    assert "is truncated or no checkpoint" in error


def test_a_network_trained_without_dropout_cannot_be_guided_free(tmp_path: Path) -> None:
    """Its embedding has a row too few; the message names it."""
    run(TINY, "train", tmp_path, model__num_classes=10)
    error = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path, **FREE).error
    assert "label_embed.weight (10, 32) in the file, (11, 32) here" in error


def test_describe_needs_no_classifier() -> None:
    """Nothing is evaluated there, so nothing is read."""
    assert all(p.is_meta for p in planned(_named_classifier(), plans.description).network.parameters())


def _named_classifier() -> Any:
    config = tiny()
    config.guidance.name, config.guidance.classifier, config.guidance.labels = "classifier", "no/where", (3,)
    return config
