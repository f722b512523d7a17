"""Settings of samplers, losses and likelihoods arrive at what computes with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import run_lib.evaluation.bound as bound
import run_lib.evaluation.dequantisation as learned_dequantisation
import run_lib.evaluation.ode as ode
from likelihood import HutchPlusPlus
from run_lib.config import plans
from samplers.inverse import register_posterior
from tests.run_lib.planned import planned
from tests.run_lib.program import GAUSSIAN, TINY, run
from tests.run_lib.test_tasks import CHAIN
from tests.run_lib.tiny import get_config as tiny

LEARNED = {**CHAIN, "model__variance": "learned_range"}
LOSSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mean": ({"training__reduce_mean": False}, {"reduce_mean": False}),
    "hybrid": ({**LEARNED, "training__objective": "hybrid", "training__vlb_weight": 0.25}, {"weight": 0.25}),
    "mse": ({**LEARNED, "training__objective": "mse"}, {"weight": None}),
    "rescaled mse": ({**LEARNED, "training__objective": "rescaled_mse"}, {"weight": 0.001}),
    "kl, learned": ({**LEARNED, "training__objective": "kl"}, {"variance": "learned", "rescale": False}),
    "kl": (
        {**CHAIN, "training__objective": "kl", "training__variance": "large"},
        {"variance": "large", "rescale": False},
    ),
    "rescaled kl": (
        {**CHAIN, "training__objective": "rescaled_kl", "training__variance": "large"},
        {"variance": "large", "rescale": True},
    ),
    "rescaled kl, learned": (
        {**LEARNED, "training__objective": "rescaled_kl"},
        {"variance": "learned", "rescale": True},
    ),
}
SAMPLERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "loop": (
        {
            "sampling__corrector": "langevin", "sampling__n_steps_each": 3, "sampling__corrector_first": False,
            "sampling__noise_removal": False,
        },
        {"n_steps_each": 3, "corrector_first": False, "noise_removal": False},
    ),
    "ode": (
        {
            "sampling__method": "ode", "sampling__rtol": 1e-3, "sampling__atol": 1e-2,
            "sampling__ode_method": "dop853", "sampling__noise_removal": False,
        },
        {"rtol": 1e-3, "atol": 1e-2, "method": "dop853", "noise_removal": False},
    ),
}  # fmt: skip


def held(component: object, wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(component, name) for name in wanted}


@pytest.mark.parametrize("name", LOSSES)
def test_settings_of_losses(name: str) -> None:
    fields, wanted = LOSSES[name]
    assert held(planned(tiny(), plans.training, fields).objective.loss, wanted) == wanted


@pytest.mark.parametrize("name", SAMPLERS)
def test_settings_of_samplers(name: str) -> None:
    fields, wanted = SAMPLERS[name]
    assert held(planned(tiny(), plans.sampling, fields).sampler, wanted) == wanted


def test_settings_of_times() -> None:
    fields = {
        **CHAIN,
        "training__times": "importance",
        "training__history": 7,
        "training__uniform_share": 0.25,
    }
    times = planned(tiny(), plans.training, fields).times
    assert times.state_dict()["losses"].shape == (20, 7)
    assert times.uniform == 0.25


def test_levels_that_a_continuous_process_is_cut_into() -> None:
    fields = {
        "eval__bpd_method": "vlb", "eval__bpd_levels": 37, "eval__enable_sampling": False, "eval__enable_loss": False,
        "data__uniform_dequantization": False,
    }  # fmt: skip
    assert planned(tiny(), plans.evaluation, fields).bounded.process.num_levels == 37


class Called(BaseException):
    """With what a function was called; it does nothing else."""


def arguments(
    monkeypatch: pytest.MonkeyPatch, module: Any, function: str, work: Callable[[], object]
) -> dict[str, Any]:
    """The keyword arguments of the first call of a module's function, which ends the work."""

    def called(*args: Any, **kwargs: Any) -> None:
        raise Called(kwargs)

    monkeypatch.setattr(module, function, called)
    with pytest.raises(Called) as stopped:
        work()
    found: dict[str, Any] = stopped.value.args[0]
    return found


ONLY = {"eval__enable_bpd": True, "eval__enable_sampling": False, "eval__enable_loss": False}


def test_settings_of_the_likelihoods_ode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {
        "eval__bpd_rtol": 1e-3, "eval__bpd_atol": 1e-2, "eval__bpd_solver": "dop853", "eval__bpd_max_steps": 77,
        "eval__bpd_truncation": "noised", "eval__t_min": 0.01, "eval__bpd_divergence": "hutch++",
        "eval__bpd_rank": 1, "eval__bpd_probes": 3,
    }  # fmt: skip
    found = arguments(
        monkeypatch, ode, "log_likelihood", lambda: run(GAUSSIAN, "eval", tmp_path, **{**ONLY, **fields})
    )
    assert found.pop("moving") is not None  # the velocities, compiled or not
    assert found == {
        "rtol": 1e-3, "atol": 1e-2, "method": "dop853", "max_steps": 77, "truncation": "noised", "t_min": 0.01,
        "divergence": HutchPlusPlus(1, 3),
    }  # fmt: skip


def test_settings_of_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of twenty levels, noisiest first; the model's labels are passed to it."""
    fields = {
        **CHAIN, **ONLY, "eval__bpd_method": "vlb", "eval__bpd_variance": "large", "eval__bpd_respacing": "4",
        "training__n_iters": 1, "model__num_classes": 10,
    }  # fmt: skip
    run(TINY, "train", tmp_path, **fields)
    found = arguments(monkeypatch, bound, "variational_bound", lambda: run(TINY, "eval", tmp_path, **fields))
    assert found["variance"] == "large"
    assert found["times"].tolist() == [19, 13, 6, 0]
    assert found["bins"].levels == 17
    assert found["y"].tolist() == planned(tiny(), plans.sampling).data.load("test").labels[:6].tolist()


def test_settings_of_learned_dequantisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {
        **ONLY, "eval__bpd_dequantisation": "variational", "eval__dequantisation_steps": 3,
        "eval__dequantisation_batch_size": 5, "eval__dequantisation_lr": 0.5, "training__n_iters": 1,
    }  # fmt: skip
    run(TINY, "train", tmp_path, training__n_iters=1)
    found = arguments(
        monkeypatch,
        learned_dequantisation,
        "fit_dequantisation",
        lambda: run(TINY, "eval", tmp_path, **fields),
    )
    assert {name: found[name] for name in ("steps", "batch_size", "learning_rate")} == {
        "steps": 3, "batch_size": 5, "learning_rate": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("method", sorted(register_posterior))
def test_the_noise_of_a_measurement_is_told_to_every_method(method: str) -> None:
    fields = {"control__method": method, "control__noise_std": 0.3, "data__uniform_dequantization": False}
    assert planned(tiny(), plans.control, fields).work.method.posterior.noise_std == 0.3
