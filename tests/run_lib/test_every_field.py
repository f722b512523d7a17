"""No setting of any mode is without effect and without a word.

Of every field and every mode: another value changes what the mode's work has of its plan, or is refused by the field's
name, or the field is among those that the mode is said not to read, and then the plan is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from models.prediction.denoised import register_denoised_fn
from run_lib.config.configuration import base_fields
from run_lib.config.mode import register_mode
from run_lib.config.reading import ALIKE, COMPONENTS, FIELDS, NUMBERS, OURS, PREPARE, SECTIONS, unread
from run_lib.config.roles import ROLES
from tests.run_lib.covering import INTERPOLATION, LIKELIHOOD, PREVIEWS, UNUSED, base
from tests.run_lib.effects import Case, with_effect, wrong_effects
from tests.run_lib.program import TINY, program

GUIDED = "adm/digits_guided"


@pytest.fixture(autouse=True)
def a_transform() -> Iterator[None]:
    """One to choose: none of ours is registered."""

    @register_denoised_fn(name="halved")
    def halved(x0: Tensor) -> Tensor:
        return x0 / 2

    yield
    register_denoised_fn._entries.pop("halved")


QUICK = ("sample",)
"""Modes whose fields are tried in the tests that are not slow."""


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, marks=[pytest.mark.slow] * (mode not in QUICK))
        for mode in (*NUMBERS, *PREPARE, *ALIKE)
    ],
)
def test_every_field_in_every_mode(mode: str) -> None:
    assert wrong_effects(base(mode)) == []


PREDICTOR = ("sampling.predictor", "sampling.num_steps", "sampling.grid_size", "sampling.num_samples")
VARIANTS: dict[str, tuple[Case, tuple[str, ...]]] = {
    "previews": (
        base("train", PREVIEWS, **{"training.snapshot_sampling": True}),
        (*PREDICTOR, "sampling.seed", "sampling.clip_denoised", "sampling.batch_size"),
    ),
    "a likelihood alone": (
        base("eval", UNUSED["eval"] | LIKELIHOOD,
             **{"eval.enable_loss": False, "eval.enable_sampling": False}),
        (*PREDICTOR, "training.times", "training.weighting", "sampling.seed", "data.levels"),
    ),
    "interpolation": (
        base("control", UNUSED["control"] | INTERPOLATION, **{"control.task": "interpolate"}),
        (*PREDICTOR, "sampling.seed", "sampling.grid", "sampling.batch_size", "control.frames"),
    ),
    "the flow there and back": (
        base("reconstruct", **{"reconstruct.method": "ode"}),
        (*PREDICTOR, "sampling.grid", "reconstruct.noise_removal", "reconstruct.label"),
    ),
    "a number of steps of its own": (
        base("reconstruct", **{"reconstruct.num_steps": 4}),
        ("sampling.num_steps", "sampling.grid", "reconstruct.num_steps"),
    ),
    "a classifier": (
        Case("adm/digits_classifier", "train", {"device": "cpu"}, UNUSED["train"]),
        (*PREDICTOR, "training.snapshot_sampling", "training.times", "training.batch_size", "guidance.name"),
    ),
    "small images": (
        Case("adm/digits_superres", "sample", {"device": "cpu"}, UNUSED["eval"] - {("SampleSettings", "num_samples")}),
        ("data.root", "data.dataset", "data.low_res_size", "sampling.base_samples"),
    ),
    "classes of given images": (
        Case(GUIDED, "control", {"device": "cpu"}, UNUSED["control"]),
        ("guidance.labels", "guidance.scale", "training.label_dropout", "model.num_classes"),
    ),
    "nothing to train": (
        Case("toy/gaussian_image", "all", {"device": "cpu"}),
        ("training.n_iters", "optim.lr", "training.snapshot_sampling", "sampling.num_steps"),
    ),
}  # fmt: skip
"""Configurations in which a mode reads other fields than in the first."""


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_mode_reads_depends_on_the_configuration(name: str) -> None:
    case, paths = VARIANTS[name]
    assert wrong_effects(case, paths, most=3) == []


NO_FIELDS = {"mode", "metrics", "extractors"}
"""Sections of components' settings alone."""


def test_every_role_and_section_has_its_readers() -> None:
    """A field, a role or a section that is added is in a table, and a table names nothing that there is not."""
    assert COMPONENTS.keys() <= set(ROLES)
    assert SECTIONS.keys() == {path.partition(".")[0] for path in base_fields() if "." in path} | NO_FIELDS
    known = base_fields() | {p for role in ROLES.values() for n in role.choices for p in role.fields(n)}
    assert FIELDS.keys() <= known
    assert {path for path in base_fields() if "." not in path} <= FIELDS.keys()
    assert set(OURS) == {
        name for name in register_mode if register_mode[name].__module__.startswith("run_lib.modes.")
    }


# What is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "fields", "message"),
    [
        ("sample", {"guidance.scale": 2.5}, r"guidance.scale is set, but .*guidance.name='classifier'"),
        (
            "sample",
            {"sampling.method": "ode", "sampling.predictor": "foo"},
            r"sampling.predictor is set, but .*sampling.method='pc'",
        ),
        ("sample", {"sampling.method": "ode", "sampling.num_steps": 9}, r"sampling.num_steps is set, but"),
        ("sample", {"sampling.method": "ode", "sampling.num_steps": -1}, r"sampling.num_steps"),
        ("sample", {"sampling.atol": -3.0}, r"sampling.atol is set, but .*sampling.method='ode'"),
        ("sample", {"sampling.snr": 0.1}, r"sampling.snr is set, but .*sampling.corrector='langevin'"),
        ("train", {"training.P_mean": -1.0}, r"training.P_mean is set, but .*training.times='log_normal'"),
        (
            "eval",
            {"eval.bpd_divergence": "exact", "eval.bpd_probes": 3},
            r"eval.bpd_probes is set, but .*eval.bpd_divergence='rademacher'",
        ),
    ],
)
def test_what_nothing_chosen_takes_is_refused(mode: str, fields: dict[str, Any], message: str) -> None:
    """By name, with the component that would take it."""
    with pytest.raises(ValueError, match=message):
        base(mode).plan(fields)


# What is said --------------------------------------------------------------------------------------

SILENT = {
    "train": "sampling.num_steps sampling.num_samples sampling.clip_denoised eval.batch_size tune.rows",
    "sample": "training.reduce_mean training.likelihood_weighting training.precision optim.lr data.random_flip",
    "eval": "sampling.num_samples sampling.trajectory training.batch_size optim.lr control.samples",
    "tune": "sampling.num_samples sampling.trajectory training.likelihood_weighting training.n_iters",
    "control": "sampling.num_samples training.reduce_mean training.precision reconstruct.label",
    "reconstruct": "sampling.predictor sampling.corrector sampling.num_samples sampling.seed training.reduce_mean",
    "convert": "sampling.num_steps sampling.seed training.likelihood_weighting data.levels training.n_iters",
    "list": "seed data.levels sampling.num_steps training.n_iters optim.lr model.output",
}
VALUES: dict[str, Any] = {
    "sampling.predictor": "ddim", "sampling.corrector": "langevin", "training.precision": "bfloat16",
    "model.ema_rate": 0.5, "model.output": "eps", "optim.lr": 0.5,
}  # fmt: skip
SWITCHES = (
    "sampling.clip_denoised",
    "training.reduce_mean",
    "training.likelihood_weighting",
    "data.random_flip",
)


@pytest.mark.parametrize("mode", SILENT)
def test_what_a_mode_does_not_read_is_said(mode: str) -> None:
    given = {path: True if path in SWITCHES else VALUES.get(path, 3) for path in SILENT[mode].split()}
    assert unread(base(mode).configuration(given)) == sorted(given)


@pytest.mark.parametrize(
    ("mode", "field", "value"),
    [
        ("train", "training.precision", "bfloat16"),
        ("train", "data.random_flip", True),
        ("sample", "sampling.num_samples", 3),
        ("reconstruct", "sampling.grid", "uniform"),
        ("describe", "model.nf", 16),
        ("convert", "optim.lr", 0.5),
        ("all", "sampling.trajectory", 2),
    ],
)
def test_what_a_mode_reads_is_not_in_the_list(mode: str, field: str, value: object) -> None:
    assert unread(base(mode).configuration({field: value})) == []


def test_the_note_is_one_line(tmp_path: Path) -> None:
    """And a command line may serve several modes: the status is 0."""
    outcome = program("--config", TINY, "--mode", "list", "--workdir", tmp_path, seed=3, training__n_iters=5)
    assert outcome.status == 0
    assert outcome.err == "note: --mode list does not read config.seed, config.training.n_iters\n"


def test_describing_a_command_line_for_another_mode_has_no_notes(tmp_path: Path) -> None:
    outcome = program("--config", TINY, "--mode", "describe", "--workdir", tmp_path, seed=3, tune__rows=2)
    assert (outcome.status, outcome.err) == (0, "")


def test_the_flow_there_and_back_has_tolerances_whatever_samples() -> None:
    """``reconstruct.method=ode`` takes ``sampling.rtol``, which the sampler, a loop, does not."""
    coarse = base("reconstruct", **{"reconstruct.method": "ode"}).plan({"sampling.rtol": 0.25})[1]
    assert coarse.inversion.rtol == 0.25
    with pytest.raises(ValueError, match=r"config.sampling.rtol is set, but"):
        base("reconstruct").plan({"sampling.rtol": 0.25})


@pytest.mark.parametrize(
    ("plans", "found"),
    [
        ({1: "elsewhere", 2: "elsewhere"}, ["sample: no value of a.b is taken: elsewhere"]),
        ({1: "elsewhere", 2: {}}, []),
        (
            {1: "elsewhere", 2: {"x": 1}},
            ["sample is said not to read {'a.b': 2}, and its plan is another: x"],
        ),
        ({1: "elsewhere", 2: "config.a.b is set, and has no effect"}, []),
    ],
)
def test_a_refused_value_shows_nothing_of_a_field(plans: dict[int, Any], found: list[str]) -> None:
    """Of a field that is said not to be read: another value is tried, unless the refusal is of the field itself."""

    def fingerprint(changes: dict[str, Any]) -> dict[str, Any]:
        if isinstance(plan := plans[changes["a.b"]], str):
            raise ValueError(plan)
        return dict(plan)

    case: Any = SimpleNamespace(mode="sample", fingerprint=fingerprint)
    assert with_effect(case, {}, {"a.b": 1}, {"a.b": [1, 2]}) == found
