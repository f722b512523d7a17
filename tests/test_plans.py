"""Plans: what each holds, and what building one does not do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from run_lib.config import evaluation, plans, training
from run_lib.config.configuration import Configuration
from run_lib.config.files import load_config_file
from run_lib.config.mode import Mode, register_mode
from run_lib.config.subject import Subject
from run_lib.data.levels import Arrays, DataSpec
from run_lib.tuning.stored_grids import Purpose, StoredGrid, StoredGrids, with_stored_grid
from samplers.pc import PCSampler
from tests.reachable import reachable
from tests.run_lib.planned import planned
from tests.run_lib.program import ROOT, TINY, program, run
from tests.run_lib.tiny import get_config as tiny

EXACT = ("gaussian_2d", "gaussian_image", "gaussian_langevin", "mixture_2d", "mixture_image")
MODES: dict[str, dict[str, Any]] = {
    "training": {}, "sampling": {}, "evaluation": {}, "complete": {}, "conversion": {}, "description": {},
    "control": {}, "post_hoc": {}, "preparation": {}, "extractor": {}, "tuning": {"sampling__corrector": "langevin"},
    "reconstruction": {"reconstruct__input": "test"}, "showing": {},
    "scoring": {"score__samples": "elsewhere", "eval__metrics": "frechet@pixels"},
}  # fmt: skip
DISCRETE = {"training__sde": "ddpm", "sampling__predictor": "ancestral_sampling", "sampling__grid": "uniform"}
CLASSIFIER = {
    "training__task": "classifier", "model__name": "adm_encoder", "model__pool": "attention",
    "model__num_classes": 10, "model__num_head_channels": 4, "eval__enable_bpd": False,
}  # fmt: skip


def plan_of(mode: str, config: ConfigDict | None = None, **fields: Any) -> Any:
    return planned(tiny() if config is None else config, getattr(plans, mode), {**MODES[mode], **fields})


def refuse(what: str) -> Callable[..., Any]:
    def refused(*args: object, **kwargs: object) -> None:
        raise AssertionError(what)

    return refused


# Describing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
def test_exact_scores_are_described(name: str, tmp_path: Path) -> None:
    """They have no weights: the total of parameters is 0."""
    config = ROOT / f"configs/toy/{name}.py"
    found = program("--config", config, "--mode", "describe", "layers", "--workdir", tmp_path)
    assert found.status == 0, found.err
    assert found.out.splitlines()[-1].split()[:2] == ["total", "0"]


@pytest.mark.parametrize("config", [TINY, *(ROOT / f"configs/toy/{name}.py" for name in EXACT)])
def test_describe_reads_no_data(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataSpec, "load", refuse("data are read"))
    monkeypatch.setattr(Arrays, "__init__", refuse("data are made"))
    assert program("--config", config, "--mode", "describe", "--workdir", tmp_path).status == 0


@pytest.mark.parametrize("name", ["ddpm/cifar10", "adm/imagenet_512", "edm/digits", "toy/gaussian_2d"])
def test_describe_allocates_no_weights(name: str) -> None:
    """552,807,171 parameters of ADM at 512 pixels would be 2.2 GB."""
    network = planned(load_config_file(name), plans.description).network
    assert all(p.is_meta for p in network.parameters())
    large = [where for where, part in reachable(network) if isinstance(part, torch.Tensor)
             and not part.is_meta and part.numel() > 10_000]  # fmt: skip
    assert not large


# What is not built ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sampling", "control", "reconstruction", "tuning", "description"])
def test_what_draws_samples_builds_no_loss(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (training, evaluation):
        monkeypatch.setattr(module, "build_objective", refuse("a loss is built"))
    monkeypatch.setattr(training, "build_optimisation", refuse("an optimiser is chosen"))
    plan_of(mode)
    with pytest.raises(AssertionError, match="a loss is built"):
        plan_of("training")  # else the test would show nothing


def test_a_classifier_for_guidance_is_a_network_and_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading it chooses no predictor, no loss, no optimiser and reads no data."""
    run(TINY, "train", tmp_path, **CLASSIFIER)
    chosen: list[str] = []
    find = Configuration.find

    def noted(configuration: Configuration, role: str) -> Any:
        if configuration.values.training.task == "classifier":
            chosen.append(role)
        return find(configuration, role)

    monkeypatch.setattr(Configuration, "find", noted)
    monkeypatch.setattr(DataSpec, "load", refuse("data are read"))
    guided = {"guidance__name": "classifier", "guidance__classifier": str(tmp_path)}
    plan = plan_of("sampling", **guided)
    # The task says whether labels are dropped, which makes a class more; the data set and a codec, what numbers mean.
    assert set(chosen) == {"network", "sde", "preconditioning", "data set", "codec", "augmentation", "task"}
    theirs = plan.guidance.model.classifier
    assert not [p for p in theirs.parameters() if p.requires_grad]
    assert not [where for where, part in reachable(theirs) if isinstance(part, Subject | PCSampler)]


# Frozen --------------------------------------------------------------------------------------------


def variants(mode: str) -> list[Any]:
    found = [plan_of(mode), plan_of(mode, load_config_file("toy/gaussian_image"))]
    if mode != "tuning":
        found.append(plan_of(mode, **DISCRETE))
    if mode in ("training", "evaluation", "complete"):
        found.append(plan_of(mode, load_config_file("adm/digits_classifier")))
    return found


@pytest.mark.parametrize("mode", MODES)
def test_plans_are_frozen_all_the_way(mode: str) -> None:
    """Every dataclass that a plan reaches is, and no configuration is among what it holds."""
    for plan in variants(mode):
        held = list(reachable(plan))
        kinds = {
            type(part) for _, part in held if dataclasses.is_dataclass(part) and not isinstance(part, type)
        }
        assert len(kinds) >= 1
        assert not [kind for kind in kinds if not kind.__dataclass_params__.frozen]
        assert not [where for where, part in held if isinstance(part, ConfigDict | Configuration)]


def test_every_mode_has_a_plan_here() -> None:
    """A mode that is added is tested too; ``list`` makes a text, ``doctor`` looks at the machine, ``compare`` and
    ``convert.to=config`` read the files that they are given."""
    ours: dict[str, type[Mode]] = {name: register_mode[name] for name in register_mode}
    returned = {
        name for mode in ours.values() for name in str(mode.plan.__annotations__["return"]).split(" | ")
    }
    tested = {type(plan_of(mode)).__name__ for mode in MODES}
    assert {name.removeprefix("plans.") for name in returned} - {
        "str", "Any", "None", "ComparisonPlan", "WrittenPlan"
    } <= tested  # fmt: skip


# An optimised grid ---------------------------------------------------------------------------------


def test_an_optimised_grid_is_given_to_a_sampler(tmp_path: Path) -> None:
    """The sampler that works has the stored times; the plan's own keeps those it was built with."""
    plan = plan_of("sampling", sampling__grid="optimised")
    before = plan.sampler.times.clone()
    stored = tuple((before.double() * 0.5 + before[-1] * 0.5).tolist())
    path = tmp_path / "grids.json"
    StoredGrids(path).add(StoredGrid(Purpose.of(plan.sampler), stored, 0.1, 0.2, 3, 4, 5))
    given = with_stored_grid(plan, path)
    assert given.sampler.times.tolist() == pytest.approx(stored)
    assert torch.equal(plan.sampler.times, before)
    assert given.sampler.model is plan.sampler.model
