"""What ``test_every_field`` shows of one configuration, of every component; and that its premises hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from run_lib.config.reading import NUMBERS
from run_lib.config.roles import ROLES
from run_lib.tuning import jobs
from tests.run_lib.covering import (
    COMPONENTS,
    INTERPOLATION,
    LIKELIHOOD,
    NEEDED,
    PREVIEWS,
    UNUSED,
    choosing,
)
from tests.run_lib.effects import Unused, wrong_effects
from tests.run_lib.program import TINY, run
from tests.run_lib.touched import touching

# What the work does not touch ----------------------------------------------------------------------

FEW = {
    "device": "cpu", "control.num_images": 2, "reconstruct.num_images": 2, "eval.bpd_num_images": 2, "tune.repeats": 2,
    "tune.num_samples": 70, "tune.rows": 1,
}  # fmt: skip
WORKS: dict[str, tuple[str, Unused, dict[str, Any]]] = {
    **{mode: (mode, unused, {}) for mode, unused in UNUSED.items()},
    "previews": ("train", PREVIEWS, {"training.snapshot_sampling": True, "sampling.num_steps": 2}),
    "a likelihood alone": ("eval", LIKELIHOOD, {"eval.enable_loss": False, "eval.enable_sampling": False}),
    "interpolation": ("control", INTERPOLATION, {"control.task": "interpolate"}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("trained")
    run(TINY, "train", workdir, model__ema_stds=(0.05, 0.1))
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_the_work_does_not_touch_it(
    name: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tuning plans its candidates anew, which is planning."""
    mode, unused, fields = WORKS[name]
    workdir = tmp_path if mode in ("train", "check") else trained
    if mode == "control":
        fields = {**fields, "control.output": str(tmp_path / "out")}
    few = {path: value for path, value in FEW.items() if path.partition(".")[0] in ("device", mode)}
    given = {**few, **NEEDED.get(mode, {}), **fields}
    with touching(mode) as found:
        planning = jobs.plan_candidate

        def plan_candidate(*args: Any) -> Any:
            before = set(found)
            plan = planning(*args)
            found.intersection_update(before)
            return plan

        monkeypatch.setattr(jobs, "plan_candidate", plan_candidate)
        run(TINY, mode, workdir, **{path.replace(".", "__"): value for path, value in given.items()})
    assert found, "else nothing was watched"
    assert sorted(found & unused) == []


# Settings of components ----------------------------------------------------------------------------


def settings_of(key: str, name: str) -> list[str]:
    return [path for path, _ in ROLES[key].settings(ROLES[key].choices[name])]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "name"), COMPONENTS)
def test_every_setting_of_every_component(key: str, name: str) -> None:
    """In the mode whose work it is."""
    case = choosing(key, name)
    assert ROLES[key].chosen(case.configuration({}).values) == name
    assert wrong_effects(case, settings_of(key, name), most=3) == []


PLANS_NONE = {("evaluation accuracy", mode) for mode in ("sample", "tune", "control", "reconstruct")} | {
    ("method", "tune"),
    ("method", "control"),
    ("evaluation density", "control"),
}  # a classifier has no samples; the flow no steps to sweep or project; points are no images
FIRST = {key: name for key, name in reversed(COMPONENTS) if settings_of(key, name)}
"""The first component of each role that has settings."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", NUMBERS)
def test_a_component_of_every_role_in_every_mode(mode: str) -> None:
    """The builders are shared: what holds of one setting there holds of the others."""
    wrong: list[str] = []
    for key, name in FIRST.items():
        if (key, mode) not in PLANS_NONE:
            wrong += wrong_effects(choosing(key, name, mode), settings_of(key, name)[:2], most=3)
    assert wrong == []
