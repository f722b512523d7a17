"""``sampling.predictor='auto'``: a number of steps is all that a configuration says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from configs.base import get_config as base
from configs.toy.gaussian_2d import get_config as gaussian
from run_lib.config.plans import sampling
from samplers.automatic import choose
from sde_lib import VPSDE, DiscreteDiffusion
from sde_lib.schedules import linear_betas
from tests.run_lib.planned import planned
from tests.run_lib.program import GAUSSIAN, run

AUTO = {"sampling__predictor": "auto", "sampling__corrector": "none"}


def test_samples_say_what_was_chosen(tmp_path: Path) -> None:
    """As many evaluations as steps; the file and the report name method, grid and reason."""
    chosen = str(choose(VPSDE(), 7))
    done = run(GAUSSIAN, "sample", tmp_path, **AUTO, sampling__num_steps=7, sampling__num_samples=4)
    facts = json.loads((tmp_path / "samples/samples.json").read_text())
    assert (facts["sampler"], facts["nfe"]) == (chosen, 7)
    assert f"  sampler    {chosen}\n" in done.out


def test_a_named_sampler_is_not_said_to_be_chosen(tmp_path: Path) -> None:
    done = run(GAUSSIAN, "sample", tmp_path, sampling__num_steps=2, sampling__num_samples=2)
    assert "sampler" not in json.loads((tmp_path / "samples/samples.json").read_text())
    assert "  sampler " not in done.out


def test_the_plan_has_the_chosen_sampler() -> None:
    """The grid of a file is no longer asked for."""
    config = gaussian()
    config.sampling.grid = "karras"
    plan = planned(config, sampling, {**AUTO, "sampling__num_steps": 12})
    chosen = choose(VPSDE(), 12)
    assert plan.sampler.predictor == chosen.predictor
    assert torch.equal(plan.sampler.times, chosen.grid.times(plan.sampler.model.process, 12))


def test_levels_of_a_respaced_chain_are_kept() -> None:
    """The predictor is that of as many evaluations as levels are kept."""
    config = gaussian()
    config.training.sde = "ddpm"
    plan = planned(config, sampling, {**AUTO, "sampling__respacing": "9"})
    chain = DiscreteDiffusion.ddpm(linear_betas(1000))
    assert plan.sampler.predictor == choose(chain, 9).predictor
    assert len(plan.sampler.times) == 9
    assert plan.picked == choose(chain, 9).without_grid


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampling__corrector": "langevin"}, "corrector 'langevin' would clear at every step: with a corrector name"),
        ({"sampling__grid": "karras"}, "with a predictor that is not 'auto', which comes with its grid"),
        ({"sampling__eta": 0.5}, "config.sampling.eta"),
    ],
)  # fmt: skip
def test_settings_of_others_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned(gaussian(), sampling, {**AUTO, "sampling__num_steps": 5, **fields})


def test_the_ancestors_default_stays() -> None:
    """Files of score_sde say no predictor and mean theirs."""
    assert base().sampling.predictor == "euler_maruyama"
