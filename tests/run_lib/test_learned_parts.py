"""What a loss and a process learn beside the network: kept, gone on with, evaluated; in averages or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from run_lib.config import plans
from run_lib.config.configuration import read
from run_lib.config.subject import build_subject
from run_lib.run import Run
from run_lib.training.loop import train
from tests.run_lib.planned import planned, with_fields
from tests.run_lib.program import TINY, numbers, program, run
from tests.run_lib.tiny import get_config as tiny
from tests.run_lib.together import Job, alone, held, together, weights_in

UNCERTAIN: dict[str, Any] = {"training__uncertainty": True}
BOUND: dict[str, Any] = {
    "training__sde": "vdm", "training__objective": "elbo", "training__times": "least_variance",
    "training__pieces": 4, "model__ends": "learned",
}  # fmt: skip
OWN: dict[str, Any] = {
    **UNCERTAIN, "model__name": "edm2", "model__head_channels": 4, "model__preconditioning": "edm",
    "training__sde": "edm", "training__weighting": "edm", "model__output": None,
    "optim__weight_decay": 0.0,
}  # fmt: skip
FAST: dict[str, Any] = {
    "optim__lr": 0.05,
    "optim__warmup": 0,
    "optim__grad_clip": 0.0,
    "optim__schedule": "constant",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [{**UNCERTAIN, "training__times": "least_variance"}, BOUND], ids=["u", "bound"]
)
def test_a_training_in_two_parts_ends_with_the_same_bits(fields: dict[str, Any], tmp_path: Path) -> None:
    for name, parts in (("whole", (5,)), ("parts", (2, 5))):
        for steps in parts:
            run(TINY, "train", tmp_path / name, training__n_iters=steps, **fields, **FAST)
    whole, parts_ = held(tmp_path / "whole", 5), held(tmp_path / "parts", 5)
    assert whole["learned"].keys() == parts_["learned"].keys()
    assert set(whole["learned"]) == {
        "times.logits",
        *(
            f"log_error.{n}"
            for n in ("gain", "layer.weight", "fourier.freqs", "fourier.phases")
            if fields is not BOUND
        ),
    }
    for name, value in whole["learned"].items():
        assert torch.equal(parts_["learned"][name], value), name
        assert name.startswith("log_error.fourier") or bool((value != 0).any())
    assert all(torch.equal(parts_["model"][name], value) for name, value in whole["model"].items())
    averaged = {name for _, average in weights_in(whole) for name in average}
    assert not any(name.startswith(("times", "log_error")) for name in averaged)
    ends = {name for name in averaged if name.startswith("learned_process.")}
    assert ends == ({"learned_process.shift", "learned_process.stretch"} if fields is BOUND else set())


def test_the_networks_own_layer_is_averaged(tmp_path: Path) -> None:
    """And the loss learns nothing beside it; without uncertainty the layer stays as it was made."""
    fields = {**OWN, "training__n_iters": 2, **FAST}
    name = "network.error.weight"
    for uncertain in (True, False):
        plan = planned(tiny(), plans.training, {**fields, "training__uncertainty": uncertain})
        before = plan.subject.network.get_parameter(name).clone()
        folder = tmp_path / str(uncertain)
        train(plan, Run(folder))
        after = held(folder, 2)
        assert after["learned"] == {}
        assert (name in after["ema"]["shadow"]) is uncertain
        # Brought to unit magnitude in any case.
        turned = torch.cosine_similarity(after["model"][name], before.detach())
        assert bool(turned < 0.999) is uncertain


def test_an_evaluated_loss_is_in_the_units_that_were_learned(tmp_path: Path) -> None:
    """The reported loss is exp(-u) error + u of the checkpoint's u: with the gain set to 0 it is the error."""
    fields = {
        **UNCERTAIN,
        "training__n_iters": 4,
        **FAST,
        "eval__enable_bpd": False,
        "eval__enable_sampling": False,
    }
    run(TINY, "train", tmp_path, **fields)
    run(TINY, "eval", tmp_path, **fields, eval__batch_size=400)
    whole = numbers(tmp_path)["loss/test"]["value"]
    path = tmp_path / "checkpoints/step_00000004.pt"
    content = torch.load(path, weights_only=True)
    assert float(content["learned"]["log_error.gain"]) != 0
    content["learned"]["log_error.gain"].zero_()
    torch.save(content, path)
    run(TINY, "eval", tmp_path, "--eval_folder", "plain", **fields, eval__batch_size=400)
    assert abs(numbers(tmp_path, "plain")["loss/test"]["value"] - whole) > 1e-3


def test_samples_and_bounds_are_of_the_ends_that_were_learned(tmp_path: Path) -> None:
    """The averaged ones are in the process within ``averaged``, and the levels of the bound are cut between them."""
    run(TINY, "train", tmp_path, training__n_iters=4, **BOUND, **FAST)
    fields = {**BOUND, "eval__bpd_method": "vlb", "eval__bpd_levels": 10, "eval__bpd_bound_of": "density"}
    plan = planned(tiny(), plans.evaluation, fields)
    process = plan.subject.sampling.process
    weights = Run(tmp_path).weights(plan.subject)
    shadow = held(tmp_path, 4)["ema"]["shadow"]
    with weights.averaged(), torch.no_grad():
        found = process.gamma(torch.tensor([0.0, 1.0]))
        low = -13.3 + shadow["learned_process.shift"].double()
        wanted = torch.stack([low, low + 18.3 * shadow["learned_process.stretch"].double().exp()])
        torch.testing.assert_close(found, wanted)
        assert abs(float(found[0]) + 13.3) > 1e-3 and abs(float(found[1]) - 5) > 1e-3
        chain = plan.bounded.process
        last = chain.marginal(torch.tensor([9])).log_snr
        assert float(last) == pytest.approx(-float(found[1]), abs=1e-6)


def test_a_sweep_of_samplers_shares_what_was_learned() -> None:
    configuration = read(with_fields(tiny(), BOUND), [name.replace("__", ".") for name in BOUND])
    first = build_subject(configuration)
    second = build_subject(configuration, like=first)
    for subject in (first, second):
        assert subject.sampling.process.learned is first.network.get_submodule("learned_process")
        assert subject.training.time.process is subject.sampling.process


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**BOUND, "training__objective": "denoising"}, r"set training\.objective='elbo'"),
        ({**BOUND, "training__sde": "flow", "model__ends": None}, r"infinite at a time of Flow"),
        ({**UNCERTAIN, **BOUND}, r"to 'denoising' or 'simple'"),
        ({**BOUND, "training__weighting": "v"}, r"has its own weights"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned(tiny(), plans.training, fields)


def test_a_checkpoint_of_other_parts_is_refused(tmp_path: Path) -> None:
    """With --config.resume_anyway what the loss learns begins afresh, and the moments with it."""
    run(TINY, "train", tmp_path, training__n_iters=2)
    again = {"training__n_iters": 3, **UNCERTAIN}
    error = program("--config", TINY, "--mode", "train", "--workdir", tmp_path, **again).error
    assert "training.uncertainty=True (was False)" in error
    run(TINY, "train", tmp_path, **again, resume_anyway=True)
    content = held(tmp_path, 3)
    assert all(int(state["step"]) == 1 for state in content["optimizer"]["state"].values())
    assert "log_error.gain" in content["learned"]


@pytest.mark.slow
def test_two_processes_learn_the_same(tmp_path: Path) -> None:
    """What a loss learns, the ends of a process, and the layer that a network has for its error, as one process does,
    to rounding; whether each has all weights or a part of them."""
    fields = {
        "training__batch_size": 9, "training__microbatch": 4, "training__n_iters": 4, "training__eval_freq": 4,
        **FAST, "optim__eps": 1e-3,  # by less Adam makes whole steps of gradients that are rounding errors
        "optim__grad_clip": 0.05,  # by the norm of all gradients, of which those of whole weights count once
    }  # fmt: skip
    kinds = {"u": {**UNCERTAIN, "training__times": "least_variance"}, "bound": BOUND, "own": OWN}
    ways = {"whole": {}, "parts": {"training__shard": True}}
    for name, some in kinds.items():
        alone(Job(tmp_path / name / "one", {**fields, **some}))
    together(
        2,
        [
            Job(tmp_path / name / way, {**fields, **some, **shard})
            for name, some in kinds.items()
            for way, shard in ways.items()
        ],
    )
    for name in kinds:
        one = held(tmp_path / name / "one", 4)
        for way in ways:
            two = held(tmp_path / name / way, 4)
            for part in ("learned", "model"):
                for key, value in one[part].items():
                    torch.testing.assert_close(two[part][key], value, rtol=1e-3, atol=1e-4)
            for key, value in one["ema"]["shadow"].items():
                torch.testing.assert_close(two["ema"]["shadow"][key], value, rtol=1e-3, atol=1e-4)
