"""Replacement, RePaint, and score_sde's inpainter and colorizer: what is known stays, the rest has its spread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import Model, NoiseModel
from models.prediction.time_encoding import Time
from samplers import (
    MultistepPredictor,
    PCSampler,
    Predictor,
    get_pc_colorizer,
    get_pc_inpainter,
    register_corrector,
    register_predictor,
)
from samplers.base import Memory, Step
from samplers.constraints import Replacement, Resampling, repaint, resampled
from samplers.operators import Mask, register_operator
from sde_lib import VESDE, VPSDE, Noise, Process
from sde_lib.grids import LogSNR, Uniform
from tests.oracles import CASES, Data, ancestral_sampling, propagate

SHAPE = (3, 4, 6)
HALF = register_operator["mask_half"](SHAPE)
SEEN = HALF.known.expand(8, *SHAPE)


def exact(process: Process, std: float = 0.5) -> NoiseModel:
    return NoiseModel(GaussianScore(process=process, mean=0.3, std=std), process, Time(process), "score")


def data(std: float = 0.5, count: int = 8) -> Tensor:
    return 0.3 + std * Noise(9, range(count)).normal((count, *SHAPE))


def sampler(name: str, steps: int = 20, **options: Any) -> PCSampler:
    process = CASES[name].process
    settings = {
        "predictor": register_predictor["ancestral_sampling"](),
        "corrector": register_corrector["none"](),
        "constraints": [Replacement(HALF, HALF.apply(data()))],
        **options,
    }
    return PCSampler(exact(process), times=Uniform().times(process, steps), **settings)


@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "flow", "ddpm", "smld"])
def test_known_pixels_are_exact_at_the_end(name: str) -> None:
    x = sampler(name).sample((8, *SHAPE), Noise(0, range(8))).x
    assert torch.equal(x[SEEN], data()[SEEN])


@pytest.mark.parametrize("name", ["vp", "ve", "ddpm"])
def test_known_part_has_the_noise_of_its_time_from_the_start(name: str) -> None:
    """At T, not clean pixels in the prior's noise (score_sde's start), and at every later time.

    8 x 36 known values: the standard error of their spread is sigma / sqrt(576) = 4 %; four of them.
    """
    run, o = sampler(name, 5, noise_removal=False), CASES[name].oracle
    noise = Noise(0, range(8))
    start = run.prior((8, *SHAPE), noise)
    states = [start, *(step.x for step in run.iterate(start, noise))]
    for t, x in zip(run.times.tolist(), states, strict=True):
        deviation = (x - o.alpha(t) * data())[SEEN]
        assert deviation.std().item() == pytest.approx(o.sigma(t), rel=0.17)


@pytest.mark.parametrize("std", [0.01, 0.5])
def test_unknown_spread_with_noise_removal_and_without(std: float) -> None:
    """VP at its own t_end = 1e-3, sigma = 0.0101; score_sde ends VP at 1e-5, with a spread of 0.53 for 0.001.

    Independent pixels, so the hidden half is a sample of the prior: its law is the sampler's, step by step.
    """
    sde, o, known = VPSDE(), CASES["vp"].oracle, data(std, 64)
    times = torch.linspace(1, 1e-3, 100).tolist()
    seen = HALF.known.expand_as(known)
    for denoise in (True, False):
        inpaint = get_pc_inpainter(
            sde,
            register_predictor["ancestral_sampling"],
            register_corrector["none"],
            lambda x: x,
            snr=0.1,
            denoise=denoise,
            num_steps=100,
        )
        x = inpaint(exact(sde, std), known, HALF.known.float())
        predicted = propagate(Data(0.3, std), o, times, ancestral_sampling, noise_removal=denoise)
        # 2304 values: the standard error of their spread is 1.5 %.
        assert x[~seen].std().item() == pytest.approx(predicted.std, rel=0.05)
        assert x[~seen].mean().item() == pytest.approx(predicted.mean, abs=4 * predicted.std / 2304**0.5)
        # Noise of sigma(t_end) = 0.0101 is in the one and not in the other.
        assert 0.4 * std < predicted.std < 1.02 * std if denoise else predicted.std > 0.0101
        off = (x - known)[seen].abs().max().item()
        assert off == 0 if denoise else 0.01 < off < 0.06


def test_mean_is_projected_from_itself() -> None:
    """score_sde mixes the noisy state into it: here x and mean differ by the fresh noise alone, and stay apart."""
    process, t = CASES["vp"].process, torch.full((8,), 0.4).double()
    o = CASES["vp"].oracle
    step = Step(torch.full((8, *SHAPE), 2.0), torch.full((8, *SHAPE), 1.0))
    projected = Replacement(HALF, HALF.apply(data())).project(step, process, t, Noise(0, range(8)))
    assert (projected.x[~SEEN] == 2).all()
    assert (projected.mean[~SEEN] == 1).all()
    assert torch.allclose(projected.mean[SEEN], o.alpha(0.4) * data()[SEEN])
    assert (projected.x - projected.mean)[SEEN].std().item() == pytest.approx(o.sigma(0.4), rel=0.17)


def test_noise_of_the_measurement_is_counted() -> None:
    """The state's known part has the variance of its time, with y's own noise in it; a cleaner state is left alone."""
    process, o, clean = VESDE(), CASES["ve"].oracle, torch.zeros(64, *SHAPE)
    seen = HALF.known.expand(64, *SHAPE)
    y = HALF.measure(clean, Noise(3, range(64)), 0.5)
    constraint = Replacement(HALF, y, noise_std=0.5)
    zero = Step(clean, clean)
    noisier = torch.full((64,), 0.55).double()  # sigma = 1.08
    x = constraint.project(zero, process, noisier, Noise(0, range(64))).x
    assert x[seen].std().item() == pytest.approx(o.sigma(0.55), rel=0.06)
    cleaner = torch.full((64,), 0.4).double()  # sigma = 0.30
    assert constraint.project(zero, process, cleaner, Noise(0, range(64))).x is not x
    assert torch.equal(constraint.project(zero, process, cleaner, Noise(0, range(64))).x, clean)


@pytest.mark.parametrize("denoise", [True, False])
def test_inpainter_takes_a_mask_of_each_sample_and_goes_on_to_fresh_samples(denoise: bool) -> None:
    sde = VPSDE()
    mask = (Noise(4, range(8)).uniform((8, 1, 4, 6)) < 0.5).float()
    inpaint = get_pc_inpainter(
        sde,
        register_predictor["ddim"],
        register_corrector["none"],
        lambda x: 2 * x,
        0.1,
        denoise=denoise,
        num_steps=5,
    )
    first, second = inpaint(exact(sde), data(), mask), inpaint(exact(sde), data(), mask)
    seen = mask.bool().expand_as(first)
    assert (first[~seen] != second[~seen]).all()
    # sigma(t_end) = 0.01 without noise removal, and the scaler's factor of 2; five of them.
    assert torch.allclose(first[seen], 2 * data()[seen], rtol=0, atol=0 if denoise else 0.1)


def test_colorizer_keeps_the_grey_image_and_draws_the_colours() -> None:
    """Independent channels: what is orthogonal to their mean is a sample of the prior, by the sampler's own law."""
    sde, grey = VPSDE(), data(count=64).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    colorize = get_pc_colorizer(
        sde,
        register_predictor["ancestral_sampling"],
        register_corrector["none"],
        lambda x: x,
        0.1,
        num_steps=50,
    )
    x = colorize(exact(sde), grey)
    assert torch.allclose(x.mean(1, keepdim=True), grey[:, :1], rtol=0, atol=1e-6)
    colour = x - x.mean(1, keepdim=True)
    times = torch.linspace(1, 1e-3, 50).tolist()
    predicted = propagate(Data(0.3, 0.5), CASES["vp"].oracle, times, ancestral_sampling)
    # Two free directions of three: 3072 values, whose spread has a standard error of 1.3 %.
    assert (colour.square().sum() / (64 * 24 * 2)).sqrt().item() == pytest.approx(predicted.std, rel=0.05)


def test_repaint_walks_as_in_the_paper() -> None:
    """Lugmayr et al. 2022, section 4.2, on eight times with jumps of 3, each stretch passed twice."""
    times = torch.arange(7, -1, -1)
    walk = resampled(times, jump_length=3, resamplings=2).tolist()
    assert walk == [7, 6, 5, 4, 3, 6, 5, 4, 3, 2, 1, 0, 3, 2, 1, 0]
    assert resampled(times, jump_length=3, resamplings=1).tolist() == times.tolist()
    above = resampled(times, jump_length=3, resamplings=2, bottom=5).tolist()
    assert above == [7, 6, 5, 4, 3, 2, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("name", ["vp", "ddpm"])
def test_repaint_constrains_every_inner_step_and_counts_every_evaluation(name: str) -> None:
    """20 times, jumps of 4 from places 19, 15, 11, 7: 19 steps, and three times 4 x 4 more."""
    run = repaint(sampler(name), jump_length=4, resamplings=4)
    noise = Noise(0, range(8))
    steps = list(run.iterate(run.prior((8, *SHAPE), noise), noise))
    o = CASES[name].oracle
    for t, step in zip(run.times[1:].tolist(), steps[:-1], strict=True):
        assert (step.x - o.alpha(t) * data())[SEEN].std().item() == pytest.approx(o.sigma(t), rel=0.2)
    assert torch.equal(steps[-1].x[SEEN], data()[SEEN])
    assert run.sample((8, *SHAPE), Noise(0, range(8))).nfe == 19 + 3 * 4 * 4 + 1


def test_going_up_keeps_the_law() -> None:
    """Unconstrained, RePaint samples what the sampler does: here the data's law."""
    run = sampler("vp", constraints=(), predictor=register_predictor["heun"]())
    run = replace(run, times=LogSNR().times(VPSDE(), 25))
    x = repaint(run, jump_length=4, resamplings=3).sample((64, *SHAPE), Noise(0, range(64))).x
    # 4608 values: standard errors 0.007 and 1 %; Heun's steps leave another 2 %.
    assert x.mean().item() == pytest.approx(0.3, abs=0.03)
    assert x.std().item() == pytest.approx(0.5, rel=0.05)


class Remembers(MultistepPredictor):
    """Notes how much it was given to remember."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def advance(self, model: Model, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory) -> Any:
        advance = register_predictor["unipc"]().advance(model, x, t, s, noise, memory)
        self.seen.append(len(memory.past))
        return advance


def test_a_jump_ends_what_a_multistep_predictor_remembers() -> None:
    inner = Remembers()
    run = sampler("vp", 9, predictor=inner, constraints=())
    repaint(run, jump_length=4, resamplings=2).sample((2, *SHAPE), Noise(0, range(2)))
    # Places 0-4, up, 0-4 again, 4-8, up, 4-8: each stretch begins with nothing.
    assert [k for k, past in enumerate(inner.seen) if past == 0] == [0, 4, 12]


def test_restart_is_planned_in_the_grid_without_jumps() -> None:
    """Its restarts happen in one step of the grid, each time that step is made."""
    restart = register_predictor["restart"]()
    run = sampler("vp", 12, predictor=restart)
    run = repaint(
        PCSampler(
            run.model, restart, run.corrector, LogSNR().times(VPSDE(), 12), constraints=run.constraints
        ),
        jump_length=3,
        resamplings=2,
    )
    planned: list[Predictor] = list(run.predictor.plan(run.model.process, run.times))
    down = [p for p, rises in zip(planned, run.times.diff() > 0, strict=True) if not rises]
    assert sum(p is restart for p in down) == 2
    x = run.sample((8, *SHAPE), Noise(0, range(8))).x
    assert torch.equal(x[SEEN], data()[SEEN])


def test_mistakes_are_refused() -> None:
    y = HALF.apply(data())
    with pytest.raises(ValueError, match=r"1 <= jump_length < 20"):
        repaint(sampler("vp"), jump_length=20)
    with pytest.raises(ValueError, match="resamplings of at least 1; got 3 and 0"):
        repaint(sampler("vp"), jump_length=3, resamplings=0)
    with pytest.raises(ValueError, match="ReverseDDIM encodes"):
        Resampling(register_predictor["reverse_ddim"]())
    for walk in ([0.9, 0.5, 0.9], [0.9, 0.1, 0.9, 0.5, 0.1]):
        with pytest.raises(ValueError, match="fall one step of their grid at a time"):
            PCSampler(
                exact(VPSDE()),
                Resampling(register_predictor["ddim"]()),
                register_corrector["none"](),
                torch.tensor(walk),
            )
    with pytest.raises(ValueError, match="0 or more; got -1"):
        Replacement(HALF, y, noise_std=-1.0)
    blur = register_operator["blur"](SHAPE)
    with pytest.raises(ValueError, match="Blur's is not; set noise_std=0 or wrap the model"):
        Replacement(blur, y, noise_std=0.1)
    with pytest.raises(ValueError, match=r"measurement has shape \(8, 3, 4, 5\)"):
        sampler("vp", constraints=[Replacement(HALF, y[..., :5])]).sample((8, *SHAPE), Noise(0, range(8)))
    with pytest.raises(ValueError, match=r"the mask has shape \(5, 6\), which does not broadcast"):
        sampler("vp", constraints=[Replacement(Mask(torch.ones(5, 6)), y)]).sample(
            (8, *SHAPE), Noise(0, range(8))
        )
