"""``sampling.chain``: a network trained on a chain, sampled at its levels or at every real index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.base import get_config as default
from configs.toy.gaussian_2d import get_config as gaussian
from models.blocks.embeddings import level_at
from models.prediction.time_encoding import FractionalIndex, LevelOfTime
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.schedules import linear_betas
from tests.run_lib.planned import subject
from tests.run_lib.program import GAUSSIAN, numbers, program, run
from tests.run_lib.tiny import get_config as tiny


@pytest.mark.parametrize("sde", ["ddpm", "vpsde"])
@pytest.mark.parametrize("rescale", [False, True])
def test_whole_indices_are_the_chains_own(sde: str, rescale: bool) -> None:
    """At integers: the chain's noise level, and the label that published DDPM and ADM networks are fed: the
    index, or index * 1000 / N with rescale_timesteps. Halfway: the index and a half, and the levels' geometric mean.
    """
    overrides = {"training__sde": sde, "training__continuous": False, "model__num_scales": 200}
    fields = {"sampling__chain": "interpolated", "model__rescale_timesteps": rescale, **overrides}
    found = subject(tiny(), fields)
    chain, process = found.training.process, found.sampling.process
    assert isinstance(chain, DiscreteDiffusion)
    assert isinstance(process, InterpolatedChain)
    whole = torch.tensor([0, 1, 57, 199])
    unit = 1000 / 200 if rescale else 1
    assert found.sampling.time.labels(whole.double()).tolist() == (whole * unit).tolist()
    assert torch.allclose(process.marginal(whole.double()).sigma, chain.marginal(whole).sigma, rtol=1e-12)
    between = torch.tensor([57.5], dtype=torch.float64)
    assert found.sampling.time.labels(between).tolist() == [57.5 * unit]
    both = chain.marginal(torch.tensor([57, 58])).sigma
    assert process.marginal(between).sigma.item() == pytest.approx(float((both[0] * both[1]).sqrt()))


@pytest.mark.parametrize("descending", [False, True])
def test_labels_between_the_levels_of_an_uneven_chain(descending: bool) -> None:
    """Of levels 0, 1, 5 and 20 of 30 are kept: between two of them the label goes straight from one to the other."""
    chain = DiscreteDiffusion.ddpm(linear_betas(30)).respace([0, 1, 5, 20])
    encoding = FractionalIndex(InterpolatedChain(chain), chain, descending=descending)
    found = encoding.labels(torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]))
    wanted = [0, 0.5, 1, 3, 5, 12.5, 20]
    assert found.tolist() == [29 - label if descending else label for label in wanted]


def test_labels_of_an_sde_of_any_length_end_at_the_last_level() -> None:
    chain = DiscreteDiffusion.ddpm(linear_betas(30))
    assert LevelOfTime(chain, T=2.0).labels(torch.tensor([0.0, 1.0, 2.0])).tolist() == [0, 14.5, 29]


def test_labels_of_smld_count_down() -> None:
    """The label of a score_sde network is N - 1 - index, also between two levels."""
    fields = {"training__sde": "smld", "sampling__chain": "interpolated", "model__num_scales": 50}
    found = subject(tiny(), {**fields, "model__output": "score"})
    assert found.sampling.time.labels(torch.tensor([0.0, 10.25, 49.0]).double()).tolist() == [49, 38.75, 0]


def test_networks_divide_by_the_level_between() -> None:
    """Levels 8, 2, 0.5: at whole labels themselves to the bit, halfway their geometric mean, 4."""
    levels = torch.tensor([8.0, 2.0, 0.5])
    assert level_at(levels, torch.tensor([0.0, 1.0, 2.0])).tolist() == [8, 2, 0.5]
    assert level_at(levels, torch.tensor([0.5, 1.5])).tolist() == pytest.approx([4, 1])


def test_the_same_samples_at_whole_indices(tmp_path: Path) -> None:
    """On the uniform grid of 10 of 1000 levels, which are whole, both are the same sampler."""
    found = []
    for chain in ("levels", "interpolated"):
        run(
            GAUSSIAN,
            "sample",
            tmp_path / chain,
            training__sde="ddpm",
            sampling__chain=chain,
            sampling__grid="uniform",
            sampling__num_steps=10,
            sampling__predictor="ancestral_sampling",
            sampling__num_samples=50,
        )
        with np.load(tmp_path / chain / "samples/samples.npz") as held:
            found.append(held["arr_0"])
    assert found[0] == pytest.approx(found[1], abs=1e-5)


@pytest.mark.parametrize(
    "sampler",
    [
        {"sampling__method": "ode"},
        {"sampling__predictor": "euler_maruyama", "sampling__num_steps": 300, "sampling__grid": "karras"},
        {"sampling__predictor": "unipc", "sampling__num_steps": 30},
    ],
)
def test_any_sampler_runs_on_a_chain(sampler: dict[str, Any], tmp_path: Path) -> None:
    """The flow, an SDE's predictor and a solver on a fine grid, for which the chain has no levels: N(mean, std^2).

    400 samples: means to 4 std / 20, standard deviations to 4 / sqrt(800).
    """
    few: dict[str, Any] = {"sampling__num_samples": 400}
    if sampler.get("sampling__method") == "ode":
        few |= {"sampling__rtol": 1e-3, "sampling__atol": 1e-3}
    run(GAUSSIAN, "sample", tmp_path, training__sde="ddpm", sampling__chain="interpolated", **few, **sampler)
    with np.load(tmp_path / "samples/samples.npz") as held:
        x = held["arr_0"]
    std = np.array([0.5, 0.2])
    assert (np.abs(x.mean(0) - [1.0, -0.5]) < 4 * std / 20).all()
    assert (np.abs(x.std(0) / std - 1) < 4 / np.sqrt(800)).all()


def test_likelihood_of_a_chain_by_its_flow(tmp_path: Path) -> None:
    """The ODE likelihood, which a chain at its levels has not, is the exact density's.

    To 0.01 nats: data are read as states of the first level, whose sigma is 0.01.
    """
    run(
        GAUSSIAN,
        "eval",
        tmp_path,
        training__sde="ddpm",
        sampling__chain="interpolated",
        eval__enable_sampling=False,
        eval__bpd_num_images=50,
    )
    found = numbers(tmp_path)
    assert found["nats/test"]["value"] == pytest.approx(found["nats/test, exact"]["value"], abs=0.01)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"sampling__chain": "interpolated"},
            "sampling.chain='interpolated' is for networks trained on a chain of levels, and this one is trained on "
            "VPSDE",
        ),
        ({"sampling__chain": "levels"}, "leave it unset, or set training.sde to ddpm or smld"),
        ({"sampling__chain": "interpolate", "training__sde": "ddpm"}, "Did you mean 'interpolated'?"),
        (
            {"sampling__chain": "interpolated", "training__sde": "ddpm", "sampling__respacing": "10"},
            "sampling.respacing='10' needs",
        ),
        ({"training__sde": "ddpm", "sampling__method": "ode"}, "sampling.method='ode' needs"),
    ],
)
def test_wrong_choice(overrides: dict[str, Any], message: str, tmp_path: Path) -> None:
    error = program(
        "--config", GAUSSIAN, "--mode", "sample", "--workdir", tmp_path, sampling__grid="uniform", **overrides
    ).error
    assert message in error


def test_outputs_of_whole_levels_only() -> None:
    """A network that gives x_{t-1}, and one that has learnt an embedding of each level, have nothing between."""
    fields = {"training__sde": "ddpm", "sampling__chain": "interpolated", "model__output": "previous"}
    with pytest.raises(ValueError, match="the chain's state one level down"):
        subject(tiny(), fields, weights=False)
    from configs.ncsn.cifar10 import get_config as ncsn

    with pytest.raises(ValueError, match=r"tells the network a fractional level.*sampling.chain='levels'"):
        subject(ncsn(), {"sampling__chain": "interpolated"}, weights=False)


def test_unset_is_score_sdes_way() -> None:
    """Discretely trained VP is sampled on the SDE, as published samples were."""
    found = subject(gaussian(), {"training__continuous": False})
    assert type(found.sampling.process).__name__ == "VPSDE"
    assert default().sampling.chain is None
