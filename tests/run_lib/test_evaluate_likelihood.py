"""Likelihoods by the program: standard errors, early stops, latents, dequantisation, shapes, bounds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from run_lib.config import plans
from run_lib.evaluation.likelihood_errors import spread
from run_lib.evaluation.subset import MINIMUM, Draws, precise_enough
from tests.run_lib.planned import planned
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, numbers, program, run
from tests.run_lib.tiny import get_config as tiny

BPD: dict[str, Any] = {
    "eval__enable_bpd": True,
    "eval__enable_sampling": False,
    "eval__enable_loss": False,
    "eval__bpd_rtol": 1e-4,
    "eval__bpd_atol": 1e-4,
}
IMAGE = ROOT / "configs/toy/gaussian_image.py"


def held(workdir: Path, name: str, folder: str = "eval") -> dict[str, np.ndarray]:
    with np.load(workdir / folder / f"{name}.npz") as arrays:
        return dict(arrays)


def test_standard_errors_are_those_of_a_known_law() -> None:
    """y_ir = b_i + d_ir + p_ir with standard deviations 3, 2 and 1 of 4000 images and 3 repeats.

    Then together^2 = (9 + (4 + 1) / 3) / 4000, draws^2 = (4 + 1) / 3 / 4000 and probes^2 = 1 / 3 / 4000.
    """
    rng = np.random.default_rng(0)
    count, repeats = 4000, 3
    y = 3 * rng.normal(size=count) + np.hypot(2, 1) * rng.normal(size=(repeats, count))
    found = spread(y, np.ones_like(y), noisy=True)
    assert found.together == pytest.approx(math.sqrt((9 + 5 / 3) / count), rel=0.05)
    assert found.draws == pytest.approx(math.sqrt(5 / 3 / count), rel=0.05)
    assert found.probes == pytest.approx(math.sqrt(1 / 3 / count))
    assert found.images == pytest.approx(math.sqrt(9 / count), rel=0.05)


def test_what_draws_cannot_tell_is_not_told() -> None:
    y, unknown = np.arange(4.0)[None], np.full((1, 4), np.nan)
    once = spread(y, unknown, noisy=True)
    assert (once.draws, once.probes, once.images) == (None, None, None)
    # The exact trace of continuous data has no noise at all: the images' spread is everything.
    exact = spread(y, np.zeros((1, 4)), noisy=False)
    assert exact.draws == 0
    assert exact.images == exact.together == pytest.approx(np.std(np.arange(4), ddof=1) / 2)


def test_importance_weights_and_their_error() -> None:
    """Two images with weights 1 and 3 each: log 2; without one of the weights log 3 or 0, so that the jackknife's
    variance of each is (log 3)^2 / 4. Weights of which one outweighs all others leave the second largest without it."""
    y = np.log(np.array([[1.0, 3.0], [3.0, 1.0]]))
    found = spread(y, np.zeros_like(y), noisy=True, importance_weighted=True)
    assert found.value == pytest.approx(math.log(2))
    assert found.draws == pytest.approx(math.sqrt(math.log(3) ** 2 / 4 / 2))
    assert spread(y[:1], y[:1], noisy=True, importance_weighted=True).draws is None
    far = spread(np.array([[0.0], [-60.0], [-50.0]]), np.zeros((3, 1)), noisy=True, importance_weighted=True)
    without = np.array([-50.0, 0, 0])
    without[:] += np.log([1 + math.exp(-10), 1, 1])
    assert far.draws == pytest.approx(math.sqrt(2 * without.var()))


def test_a_stop_wants_images_enough_and_counts_the_good_ones() -> None:
    same = np.zeros(MINIMUM - 1)
    assert not precise_enough(same, 1.0)
    assert not precise_enough(np.append(same, math.nan), 1.0)
    alternating = np.resize([-1.0, 1.0], 100)
    # Standard error 1 / sqrt(99): the sample's standard deviation is sqrt(100 / 99).
    assert precise_enough(alternating, 0.1006)
    assert not precise_enough(alternating, 0.1004)


def test_draws_are_of_whole_images_with_streams_of_their_own() -> None:
    draws = Draws.of(5, 3, shuffle_seed=1)
    assert sorted(draws.order) == list(range(5))
    assert draws.batch_size(7) == 6
    assert draws.batch_size(1) == 3
    rows = range(3, 9)
    assert draws.images(rows).tolist() == [draws.order[1]] * 3 + [draws.order[2]] * 3
    streams = Draws.of(5, 3).streams(range(15)).tolist()
    assert len(set(streams)) == 15
    assert streams[::3] == list(range(5)), "the first repeat of an image has its index as stream"
    values = np.arange(15)
    assert draws.by_image(values)[1].tolist() == [1, 4, 7, 10, 13]


def test_errors_over_probes_hold_in_a_run(tmp_path: Path) -> None:
    """Gaussian probes of Gaussian images: off the exact trace's mean by no more than four of its errors.

    The images have a standard deviation of 0.3, for 0.5, the control variate's, would leave no noise at all.
    With continuous data draws are probes and nothing else, so the two estimates of their error agree.
    """
    few = {"eval__bpd_num_images": 40, "model__std": 0.3, **BPD}
    run(
        IMAGE,
        "eval",
        tmp_path,
        eval__bpd_divergence="gaussian",
        eval__bpd_repeats=3,
        eval__bpd_probes=3,
        **few,
    )
    found = numbers(tmp_path)["nats/test"]
    exact = numbers(tmp_path)["nats/test, exact"]["value"]
    assert abs(found["value"] - exact) < 4 * found["stderr_draws"] + 1e-3 * 64 * math.log(2)
    assert found["stderr_probes"] == pytest.approx(found["stderr_draws"], rel=0.3)
    assert found["stderr"] ** 2 == pytest.approx(found["stderr_images"] ** 2 + found["stderr_draws"] ** 2)
    # -log p of N(0, s^2) in 64 dimensions has variance 32 over images, of which 40 tell a fifth.
    assert found["stderr_images"] == pytest.approx(math.sqrt(32 / 40), rel=0.35)
    assert "continuous data: nats only" in found["note"]
    assert "score_sde's convention" in found["note"]


def test_hutch_plus_plus_by_config(tmp_path: Path) -> None:
    """Within four standard errors of the closed form; given the sketch each probe is unbiased."""
    few = {"eval__bpd_num_images": 20, "eval__bpd_divergence": "hutch++", "eval__bpd_rank": 2,
           "eval__bpd_probes": 4}  # fmt: skip
    run(IMAGE, "eval", tmp_path, **few, **BPD)
    found = numbers(tmp_path)
    expected = found["nats/test, exact"]["value"]
    error = found["nats/test"]["stderr_draws"]
    assert found["nats/test"]["value"] == pytest.approx(expected, abs=4 * error + 1e-3 * 64 * math.log(2))
    assert 0 < error < 4
    assert "hutch++" in found["nats/test"]["note"]


def test_quick_stops_at_its_target(tmp_path: Path) -> None:
    """-log p of a Gaussian of the plane has standard deviation 1: a target of 0.12 takes about 70 images."""
    quick = {"eval__bpd_quick": True, "eval__bpd_target": 0.12, "eval__batch_size": 10}
    run(GAUSSIAN, "eval", tmp_path / "quick", **quick, **BPD)
    run(GAUSSIAN, "eval", tmp_path / "whole", **BPD)
    found = numbers(tmp_path / "quick")["nats/test"]
    assert found["stderr"] <= 0.12
    assert 30 < found["count"] < 130
    assert f"{found['count']} of 500 images, in random order" in found["note"]
    ours, all_of_them = (held(tmp_path / name, "likelihood_test_0") for name in ("quick", "whole"))
    index, logp = ours["index"], ours["logp"][0]
    assert index.tolist() != sorted(index)
    np.testing.assert_allclose(logp, all_of_them["logp"][0][index], rtol=1e-5)
    # It stops at the first batch that will do, once there are images enough.
    before = logp[:-10]
    assert not precise_enough(before, 0.12)
    # Early stopping leaves the mean near the truth.
    entropy = math.log(2 * math.pi * math.e * 0.5 * 0.2)
    assert found["value"] == pytest.approx(entropy, abs=4 * found["stderr"])


def test_latents_on_request(tmp_path: Path) -> None:
    """A Gaussian's flow scales x by the standard deviation at T over that at t_min: about 1 / 0.5 and 1 / 0.2."""
    run(GAUSSIAN, "eval", tmp_path, eval__bpd_latents=True, eval__bpd_num_images=200, **BPD)
    found = held(tmp_path, "latents_test_0")
    assert found["z"].shape == (1, 200, 2)
    assert found["index"].tolist() == list(range(200))
    std = found["z"][0].std(0)
    # Standard normal at T whatever the data's scales: within four standard errors of 200 draws.
    np.testing.assert_allclose(std, 1, atol=4 / math.sqrt(400))


@pytest.mark.parametrize("shape", ["(6,)", "(1,6)", "(1,2,3)", "(1,2,1,3)"])
def test_any_number_of_axes(shape: str, tmp_path: Path) -> None:
    """N(0, 1/4) as a vector, a signal, an image that is not square and a volume: the closed form's nats."""
    config = {"data__shape": shape, "model__name": "gaussian", "model__std": 0.5, "model__mean": 0.0}
    run(GAUSSIAN, "eval", tmp_path, eval__bpd_num_images=20, **config, **BPD)
    found = numbers(tmp_path)
    ours, exact = found["nats/test"]["value"], found["nats/test, exact"]["value"]
    assert ours == pytest.approx(exact, abs=1e-3 * 6 * math.log(2))


LEVELS_PLUGIN = """
import torch
from run_lib.data.levels import Arrays
from run_lib.data.sources import register_dataset
@register_dataset
def three_levels(split):
    images = torch.arange(3).repeat(80)[:200].reshape(200, 1).repeat(1, 4).to(torch.uint8)
    return Arrays(images, torch.zeros(200, dtype=torch.int64))
"""


THREE_LEVELS: dict[str, Any] = {
    "data__shape": "(4,)",
    "data__dataset": "three_levels",
    "data__levels": 3,
    "model__name": "gaussian",
    "model__std": 0.5,
    "model__mean": 0.0,
}


def test_any_number_of_levels(tmp_path: Path) -> None:
    """Levels 0, 1, 2 of bins 2/3 wide under N(0, 1/4): E[x^2] over a bin about c is c^2 + 1/27. The bound of the same
    density is above it by the gap of its variance, in the same unit, and is the sum of its parts."""
    (tmp_path / "three.py").write_text(LEVELS_PLUGIN)
    few = {"eval__bpd_repeats": 2, "eval__bpd_num_images": 0, "plugins": tmp_path / "three.py"}
    bound = {"eval__bpd_method": "both", "eval__bpd_bound_of": "density", "eval__bpd_levels": 200}
    run(GAUSSIAN, "eval", tmp_path / "run", **few, **bound, **THREE_LEVELS, **BPD)
    report = numbers(tmp_path / "run")
    found, above = report["bpd/test"], report["vlb of density/test"]
    levels = np.resize([0, 1, 2], 240)[:200]
    square = np.mean(((levels + 0.5) * 2 / 3 - 1) ** 2) + 1 / 27
    nats = 0.5 * math.log(2 * math.pi * 0.25) + square / (2 * 0.25)
    expected = nats / math.log(2) + math.log2(3 / 2)
    assert found["value"] == pytest.approx(expected, abs=4 * found["stderr_draws"] + 1e-3)
    assert found["stderr_draws"] < 0.02
    gap, error = reverse_gap(0.5, 200) / math.log(2), above["stderr_draws"]
    assert above["value"] - found["value"] == pytest.approx(gap, abs=4 * error + 1e-3)
    assert error < gap
    parts = [report[f"vlb of density/test, {part}"]["value"] for part in ("prior", "steps", "reconstruction")]
    assert above["value"] == pytest.approx(sum(parts))
    assert above["unit"] == "bits/dim"
    assert "; of the density of dequantised data" in above["note"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("trained")
    run(TINY, "train", workdir)
    return workdir


LOOSE = {**BPD, "eval__bpd_rtol": 0.05, "eval__bpd_atol": 0.05}


def test_importance_weighted_by_config(tmp_path: Path) -> None:
    """Of the same draws the mean weight's bits/dim lie below the mean of the draws': Jensen's inequality."""
    (tmp_path / "three.py").write_text(LEVELS_PLUGIN)
    config = {**THREE_LEVELS, "plugins": tmp_path / "three.py", "eval__bpd_num_images": 50, **BPD}
    draws = {"eval__bpd_divergence": "exact", "eval__bpd_repeats": 4}
    run(GAUSSIAN, "eval", tmp_path / "mean", **draws, **config)
    run(GAUSSIAN, "eval", tmp_path / "weighted", eval__bpd_importance_weighted=True, **draws, **config)
    mean, weighted = (numbers(tmp_path / name)["bpd/test"] for name in ("mean", "weighted"))
    logp = held(tmp_path / "mean", "likelihood_test_0")["logp"]
    assert weighted["value"] < mean["value"]
    top = logp.max(0)
    of_weights = top + np.log(np.exp(logp - top).mean(0))
    assert weighted["value"] == pytest.approx(-of_weights.mean() / (4 * math.log(2)) + math.log2(3 / 2))
    assert "importance-weighted" in weighted["note"]


@pytest.mark.slow
def test_variational_dequantisation_by_config(trained: Path) -> None:
    """Fitted once to the training images, kept, and taken off the density."""
    learned = {"eval__bpd_dequantisation": "variational", "eval__dequantisation_steps": 4, **LOOSE}
    first = run(TINY, "eval", trained, "--eval_folder", "learned", **learned)
    assert "dequantisation fitted in 4 steps" in first.out
    found = numbers(trained, "learned")
    log_q = held(trained, "likelihood_test_6", "learned")["log_q"]
    assert np.abs(log_q).max() > 0
    assert "variational 1 dequantisation" in found["bpd/test"]["note"]
    logp = held(trained, "likelihood_test_6", "learned")["logp"]
    assert found["nats/test"]["value"] == pytest.approx(-logp.mean(), rel=1e-6)
    (trained / "learned/report.json").unlink()
    again = run(TINY, "eval", trained, "--eval_folder", "learned", **learned)
    assert "dequantisation fitted" not in again.out
    (fit,) = (trained / "learned/parts").rglob("dequantisation.pt")
    fit.write_bytes(fit.read_bytes()[:-100])
    (trained / "learned/report.json").unlink()
    mended = run(TINY, "eval", trained, "--eval_folder", "learned", **learned)
    assert mended.err.count(f"note: {fit} ") == 1
    assert "it is fitted again" in mended.err
    assert "dequantisation fitted in 4 steps" in mended.out
    assert {name: one["value"] for name, one in numbers(trained, "learned").items()} == {
        name: one["value"] for name, one in found.items()
    }
    assert numbers(trained, "learned")["bpd/test"]["value"] == found["bpd/test"]["value"]


def reverse_gap(std: float, levels: int) -> float:
    """Of an exact mean with the posterior's variance V: sum KL(N(m, V*) | N(m, V)) over VP's steps, N(0, std^2)."""

    def variance_ratio(t: float) -> float:  # sigma^2 / alpha^2
        return math.expm1(0.1 * t + 9.95 * t * t)

    ratios = np.exp(np.linspace(math.log(variance_ratio(1e-3)), math.log(variance_ratio(1.0)), levels))
    clean, noisy = ratios[:-1], ratios[1:]
    known = clean * (1 - clean / noisy)  # V, in units of alpha_s^2
    of_data = std**2 * noisy / (std**2 + noisy)  # Var[x_0 | x_t]
    exact = known + (1 - clean / noisy) ** 2 * of_data
    steps = exact / known
    close = (std**2 * ratios[0] / (std**2 + ratios[0])) / ratios[0]
    return float(0.5 * (steps - 1 - np.log(steps)).sum() + 0.5 * (close - 1 - math.log(close)))


@pytest.mark.slow
def test_bound_of_a_continuous_process(tmp_path: Path) -> None:
    """``both`` of an exact score: the bound is above -log p of the very points by the gap of its variance."""
    few = {"eval__bpd_num_images": 200, "eval__bpd_levels": 400, "eval__bpd_repeats": 2}
    run(GAUSSIAN, "eval", tmp_path, eval__bpd_method="both", **few, **BPD)
    found = numbers(tmp_path)
    bound, exact = found["vlb nats/test"], found["nats/test, exact"]
    assert found["nats/test"]["value"] == pytest.approx(exact["value"], abs=0.01)
    gap = reverse_gap(0.5, 400) + reverse_gap(0.2, 400)
    assert bound["stderr_draws"] < 0.4 * gap, "the gap is seen"
    assert bound["value"] - exact["value"] == pytest.approx(gap, abs=4 * bound["stderr_draws"])
    assert bound["nfe"] == 400


def test_a_flows_nats(tmp_path: Path) -> None:
    """Of 50 points of eight Gaussians, the mean within 1e-4 nats of the closed form, at docs/flow.md's tolerance. At
    t_min data are 1e-5 smaller, which the mean of their log-density feels in second order alone."""
    fields = {"eval__enable_sampling": False, "eval__bpd_num_images": 50, "training__sde": "flow"}
    run(
        ROOT / "configs/toy/mixture_2d.py",
        "eval",
        tmp_path,
        **fields,
        eval__bpd_rtol=1e-6,
        eval__bpd_atol=1e-6,
    )
    found = numbers(tmp_path)
    assert found["nats/test"]["value"] == pytest.approx(found["nats/test, exact"]["value"], abs=1e-4)


@pytest.mark.parametrize(
    ("of", "dequantised", "noise"),
    [
        ("levels", True, 2 / 17 / math.sqrt(12)),  # a bin's standard deviation: 17 on an interval of width 2
        ("density", True, math.sqrt(math.expm1(1e-4 + 9.95e-6))),  # VP's sigma / alpha at t_end = 1e-3
        ("levels", False, math.sqrt(math.expm1(1e-4 + 9.95e-6))),
    ],
)
def test_where_a_cut_chain_ends(of: str, dequantised: bool, noise: float) -> None:
    fields = {
        "eval__bpd_method": "vlb",
        "eval__bpd_bound_of": of,
        "data__uniform_dequantization": dequantised,
    }
    chain = planned(tiny(), plans.evaluation, fields).bounded.process
    ends = chain.marginal(torch.tensor([0, 999]))  # type: ignore[attr-defined]
    assert float(ends.sigma[0] / ends.alpha[0]) == pytest.approx(noise)
    assert float(ends.alpha[1]) == pytest.approx(math.exp(-0.5 * (0.1 + 9.95)))
    # Even in log-SNR.
    steps = chain.marginal(torch.arange(1000)).log_snr.diff()  # type: ignore[attr-defined]
    torch.testing.assert_close(steps, steps.mean().expand(999), rtol=1e-6, atol=0)


NAN_PLUGIN = """
from run_lib.data.sources import exact, register_dataset
@register_dataset
def spoilt(density, shape, split, num_draws=2000):
    arrays = exact(density, shape, split, num_draws)
    arrays.images[3] = float('nan')
    arrays.images[4] = float('inf')
    return arrays
"""

EXPLODING_PLUGIN = """
import torch
from models.exact.mixtures import GaussianScore
from models.base import register_model
from models.exact.mixtures import ExactScore
@register_model
class Exploding(ExactScore):
    def __init__(self, *, process):
        super().__init__(process)
        self.inner = GaussianScore(process=process, std=0.5)
    def draw(self, shape, noise): return self.inner.draw(shape, noise)
    def log_density(self, x, labels=None): return self.inner.log_density(x)
    def forward(self, x, labels, **cond):
        return self.inner(x, labels).where(x.abs() < 1.5, torch.inf)
"""


def lost(workdir: Path) -> dict[int, str]:
    content = json.loads((workdir / "eval/report.json").read_text())
    return {image["index"]: image["reason"] for image in content["lost"]}


def test_images_that_are_not_finite_are_lost_and_named(tmp_path: Path) -> None:
    """Images 3 and 4 of six: the others have the numbers that they have without them, and the status is 3."""
    (tmp_path / "spoilt.py").write_text(NAN_PLUGIN)
    few = {"eval__bpd_num_images": 6, **BPD}
    outcome = program("--config", GAUSSIAN, "--mode", "eval", "--workdir", tmp_path / "run",
                      plugins=tmp_path / "spoilt.py", data__dataset="spoilt", **few)  # fmt: skip
    assert outcome.status == 3
    assert outcome.err.splitlines()[-1].startswith("incomplete: 2 images have no likelihood")
    assert "nats/test: image 3 has no likelihood: a value became NaN or infinite" in outcome.out
    assert set(lost(tmp_path / "run")) == {3, 4}
    spoilt = numbers(tmp_path / "run")["nats/test"]
    run(GAUSSIAN, "eval", tmp_path / "whole", **few)
    logp = held(tmp_path / "whole", "likelihood_test_0")["logp"][0]
    assert spoilt["count"] == 4
    assert spoilt["value"] == pytest.approx(-np.delete(logp, [3, 4]).mean(), abs=1e-6)
    # Asked again, the finished report still says so.
    again = program("--config", GAUSSIAN, "--mode", "eval", "--workdir", tmp_path / "run",
                    plugins=tmp_path / "spoilt.py", data__dataset="spoilt", **few)  # fmt: skip
    assert again.status == 3


def test_a_model_that_explodes_for_some_images(tmp_path: Path) -> None:
    """A score that is infinite beyond 1.5 = 3 standard deviations: latents of unit scale get there for some."""
    (tmp_path / "exploding.py").write_text(EXPLODING_PLUGIN)
    outcome = program("--config", GAUSSIAN, "--mode", "eval", "--workdir", tmp_path / "run",
                      plugins=tmp_path / "exploding.py", model__name="exploding",
                      eval__bpd_num_images=60, **BPD)  # fmt: skip
    assert outcome.status == 3
    reasons = lost(tmp_path / "run")
    assert 0 < len(reasons) < 30
    assert all("check the data and the model's output" in reason for reason in reasons.values())
    assert numbers(tmp_path / "run")["nats/test"]["count"] == 60 - len(reasons)


def test_a_tolerance_too_tight_to_make_progress(tmp_path: Path) -> None:
    """Ten steps cannot do what 1e-9 asks: every image is lost, with the reason, and there is no number."""
    tight = {**BPD, "eval__bpd_rtol": 1e-9, "eval__bpd_atol": 1e-9}
    outcome = program("--config", GAUSSIAN, "--mode", "eval", "--workdir", tmp_path,
                      eval__bpd_max_steps=10, eval__bpd_num_images=5, **tight)  # fmt: skip
    assert outcome.status == 3
    assert all("too many steps were needed: loosen rtol" in reason for reason in lost(tmp_path).values())
    assert sorted(lost(tmp_path)) == [0, 1, 2, 3, 4]
    assert "nats/test" not in numbers(tmp_path)
