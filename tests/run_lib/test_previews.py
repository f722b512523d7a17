"""Samples of a snapshot: evaluations of the network, counted, whatever the sampler of the run costs."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from run_lib.config import plans
from run_lib.config.configuration import read
from run_lib.config.sampling import SamplingPlan
from run_lib.config.snapshots import plan_preview
from run_lib.sample import draw
from run_lib.seeds import Use
from samplers.predictors.unipc import UniPC
from sde_lib.base import register_sde
from tests.run_lib.covering import PREVIEWS, base
from tests.run_lib.effects import wrong_effects
from tests.run_lib.planned import planned, with_fields
from tests.run_lib.program import TINY, program, run
from tests.run_lib.test_guidance import FREE
from tests.run_lib.tiny import get_config as tiny
from tests.test_new_sde import Ornstein

DRAWN = {"training__snapshot_sampling": True}
SLOW = {**DRAWN, "sampling__predictor": "ancestral_sampling", "sampling__num_steps": 1000}


def preview(fields: dict[str, Any], config: ConfigDict | None = None) -> SamplingPlan:
    found: SamplingPlan = planned(config or tiny(), plans.training, {**DRAWN, **fields}).preview
    return found


def evaluations(plan: SamplingPlan) -> int:
    """Of one sample, counted by a hook; the sample is finite."""
    calls: list[int] = []
    handle = plan.subject.network.register_forward_hook(lambda *_: calls.append(1))
    plan.subject.network.eval()
    with torch.no_grad():
        batch = draw(plan, range(1), Use.PREVIEW)
    handle.remove()
    assert batch.nfe == len(calls)
    return len(calls)


PROCESSES: dict[str, dict[str, Any]] = {
    "vp": {"training__sde": "vpsde"},
    "subvp": {"training__sde": "subvpsde", "sampling__predictor": "euler_maruyama"},
    "ve": {"training__sde": "vesde", "model__output": "score", "sampling__predictor": "reverse_diffusion"},
    "levels of vp": {"training__continuous": False, "model__output": "eps"},
    "ddpm": {"training__sde": "ddpm", "sampling__grid": "uniform", "model__output": "eps"},
    "interpolated": {"training__sde": "ddpm", "sampling__chain": "interpolated", "model__output": "x0"},
    "smld": {"training__sde": "smld", "sampling__grid": "uniform", "model__output": "score"},
    "learned": {"training__sde": "ddpm", "sampling__grid": "uniform", "model__output": "eps",
                "model__variance": "learned_range", "data__uniform_dequantization": False},
    "corrected": {"sampling__predictor": "unipc", "sampling__num_steps": 4, "sampling__corrector": "langevin"},
}  # fmt: skip


@pytest.mark.parametrize("name", PROCESSES)
def test_a_snapshot_takes_twenty_evaluations(name: str) -> None:
    """Where the run's own sampler takes a thousand, or nobody knows how many."""
    fields = {**SLOW, **PROCESSES[name]}
    if name == "learned":
        fields["training__times"] = "uniform"
    assert evaluations(preview(fields)) == 20


def test_the_runs_own_sampler_is_taken_where_it_is_as_cheap() -> None:
    """Its evaluations count, not its steps: of n steps of Heun's method there are 2 (n - 1) + 1."""
    heun = {"sampling__predictor": "heun", "sampling__noise_removal": True}
    own = preview({**heun, "sampling__num_steps": 10})
    assert (type(own.sampler.predictor).__name__, evaluations(own)) == ("Heun", 19)  # type: ignore[union-attr]
    dear = preview({**heun, "sampling__num_steps": 11})
    assert (type(dear.sampler.predictor), evaluations(dear)) == (UniPC, 20)  # type: ignore[union-attr]
    respaced = {
        **PROCESSES["ddpm"],
        "sampling__predictor": "ancestral_sampling",
        "sampling__respacing": "10,5",
    }
    assert evaluations(preview(respaced)) == 15
    adaptive = {"sampling__predictor": "adaptive_sde", "sampling__num_steps": 2}
    assert evaluations(preview(adaptive)) == 20


def test_what_is_asked_for_holds() -> None:
    assert evaluations(preview({**SLOW, "sampling__num_steps": 30, "training__preview": "own"})) == 30
    assert evaluations(preview({**SLOW, "training__preview_steps": 7})) == 7
    assert evaluations(preview({"sampling__method": "ode"})) == 20
    found = preview({**SLOW, "training__preview_predictor": "heun", "training__preview_steps": 5})
    assert evaluations(found) == 2 * 4 + 1
    few = preview({**SLOW, "training__preview_images": 3})
    assert (few.settings.grid_size, few.settings.batch_size) == (3, 4)
    state_of = planned(tiny(), plans.training, {**SLOW, "training__preview_images": 1})
    assert state_of.preview.settings.grid_size == 1
    assert preview(SLOW).settings.grid_size == 4
    assert planned(tiny(), plans.training, {"training__snapshot_sampling": False}).preview is None


def test_the_model_is_that_of_the_runs_samples() -> None:
    """Guided, and with its predictions clipped."""
    fields = {**FREE, **SLOW, "sampling__clip_denoised": True}
    fast, own = preview(fields), preview({**fields, "training__preview": "own"})
    assert type(fast.sampler.model) is type(own.sampler.model)
    assert draw(fast, range(1), Use.PREVIEW).nfe == 40  # each with the label and without


def test_a_chain_of_fewer_levels_is_sampled_at_all_of_them() -> None:
    fields = {**SLOW, **PROCESSES["ddpm"], "model__num_scales": 40, "sampling__num_steps": 40}
    dear = {"sampling__corrector": "langevin", "training__preview_steps": 100}
    assert evaluations(preview({**fields, **dear})) == 40


def test_a_chain_without_signal_at_its_end() -> None:
    """There log(sigma/alpha) is infinite, and UniPC would give NaN."""
    chain = {**SLOW, "training__sde": "ddpm", "sampling__grid": "uniform", "model__output": "x0",
             "model__num_scales": 40, "sampling__num_steps": 40,
             "model__betas": (*[0.1] * 39, 1.0)}  # fmt: skip
    assert evaluations(preview(chain)) == 20


def test_a_process_without_gaussian_marginals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register_sde, "_entries", {**register_sde._entries, "ornstein": Ornstein})
    own = {"training__sde": "ornstein", "model__output": "score", "sampling__grid": "uniform"}
    found = preview({**SLOW, **own, "sampling__predictor": "euler_maruyama"})
    assert evaluations(found) == 20
    with pytest.raises(
        ValueError, match=r"config\.training\.preview_predictor='unipc' needs a process of the kind"
    ):
        preview(
            {**SLOW, **own, "sampling__predictor": "euler_maruyama", "training__preview_predictor": "unipc"}
        )


LAWS = {
    "vp": {},
    "ve": {"training__sde": "vesde"},
    "ddpm": {"training__sde": "ddpm"},
    "cosine": {"training__sde": "ddpm", "model__num_scales": 4000, "model__beta_schedule": "cosine"},
    "smld": {"training__sde": "smld"},
    "interpolated": {"training__sde": "ddpm", "sampling__chain": "interpolated"},
}


@pytest.mark.parametrize("name", LAWS)
def test_twenty_evaluations_reach_the_law(name: str) -> None:
    """Of exact scores of a Gaussian: its mean and deviation in each coordinate, to 4 % of the deviation."""
    config = importlib.import_module("configs.toy.gaussian_2d").get_config()
    plan = planned(config, plans.sampling, {"device": "cpu", "sampling__grid": "uniform",
                                            "sampling__num_steps": 1000, **LAWS[name]})  # fmt: skip
    configuration = read(with_fields(config, {"sampling__num_steps": 1000, **LAWS[name]}))
    found = plan_preview(configuration, plan)
    assert found is not None
    batch = draw(found, range(4000), Use.PREVIEW)
    assert batch.nfe == 20
    drawn = batch.levels.double()
    assert drawn.std(0).tolist() == pytest.approx([0.5, 0.2], rel=0.04)
    assert drawn.mean(0).tolist() == pytest.approx([1.0, -0.5], abs=0.03)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"training__preview_predictor": "reverse_ddim"},
            "training.preview_predictor='reverse_ddim' does not",
        ),
        ({"training__preview_predictor": "none"}, "training.preview_predictor='none' does not sample"),
        ({"training__preview_predictor": "ddmi"}, "Did you mean 'ddim'"),
        ({"training__preview_steps": 1}, "preview_steps"),
        ({"training__preview": "quick"}, "unknown preview 'quick'"),
        ({"training__preview": "own", "training__preview_steps": 5}, "training.preview='fast'"),
        ({"training__snapshot_sampling": False, "training__preview_steps": 5}, "preview_steps is set"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    error = program("--config", TINY, "--mode", "train", **{**SLOW, **fields}).error
    assert said in error


def test_a_training_says_that_it_does_not_read_the_slow_sampler(tmp_path: Any) -> None:
    outcome = run(TINY, "train", tmp_path, **{**SLOW, "training__n_iters": 1})
    (note,) = [line for line in outcome.err.splitlines() if line.startswith("note: ")]
    assert note.endswith("config.sampling.num_steps, config.sampling.predictor")


def test_what_a_training_with_fast_previews_reads() -> None:
    slow = {key.replace("__", "."): value for key, value in SLOW.items()}
    case = base("train", PREVIEWS, **slow)
    paths = ("sampling.num_steps", "sampling.predictor", "sampling.seed", "sampling.batch_size", "training.preview",
             "training.preview_steps", "training.preview_predictor", "training.preview_images",
             "sampling.grid_size", "sampling.clip_denoised", "sampling.noise_removal")  # fmt: skip
    assert wrong_effects(case, paths, most=3) == []


def test_published_configurations_preview_in_twenty_evaluations() -> None:
    """Of a thousand and more steps of their own."""
    for path in ("ddpm.cifar10", "ncsnpp.cifar10_ve_continuous", "adm.imagenet_64"):
        config = importlib.import_module(f"configs.{path}").get_config()
        plan = planned(config, plans.training, {"model__nf": 64, "device": "cpu"})
        assert len(plan.preview.sampler.times) == 20, path
