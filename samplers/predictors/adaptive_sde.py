"""The reverse SDE with a step size for each sample, from an estimate of its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from samplers.base import Predictor, Step, register_predictor
from sde_lib.base import SDE, expand
from sde_lib.brownian import DEPTH, BrownianPath
from sde_lib.noise import Noise
from sde_lib.settings import Range


def rung(wanted: Tensor) -> Tensor:
    """The longest of 2^(-k/4), k = 0, 1, ..., that is no longer than ``wanted``, in whole units of the path's."""
    unit = 2.0**-DEPTH
    # A rung is its own, whatever the logarithm rounds to.
    longest = torch.exp2(torch.floor(4 * torch.log2(wanted.clamp(unit, 1)) + 1e-6) / 4)
    return (longest / unit).floor() * unit


@register_predictor(name="adaptive_sde")
@dataclass(frozen=True)
class AdaptiveSDE(Predictor[SDE]):
    """Stochastic improved Euler with Euler-Maruyama inside (Jolicoeur-Martineau et al. 2021, algorithm 1).

    With x' one Euler-Maruyama step and x~ the same step and noise with the coefficients at its end, the
    result is x'' = (x' + x~)/2 and its error the norm of (x' - x'')/delta over sqrt(D), delta the larger of
    ``absolute`` and ``relative`` times the last two states' magnitude. A step with an error above one is rejected; the
    next is ``safety`` error^-exponent times as long. It takes as many steps of two evaluations from t to s as
    it needs, and synchronises with the device at each; with a grid of two times it chooses all steps itself.

    Each sample follows one Brownian path, and step lengths are rounded down to a fixed ladder, so that rounding errors
    do not move the sample to other points of the path, which is rough at every scale. The paper's algorithm draws new
    noise for a rejected step, which favours noise that makes small errors: on a Gaussian in two dimensions it gives a
    standard deviation of 0.42 where 0.35 is right.

    Args:
        relative: relative tolerance of the error of a step (0.01 to 0.05 in the paper).
        absolute: absolute tolerance of the error of a step; 1/128 is one level of 8-bit data in [-1, 1].
        first_step: length of the first step, in units of T.
        safety: factor of the next step's length (the paper's theta).
        exponent: power of the error with which the next step's length falls (the paper's r).
        most_steps: number of steps, rejected ones included, after which the sampler gives up.
    """

    one_graph: ClassVar[bool] = False

    relative: Annotated[float, Range(above=0)] = 0.02
    absolute: Annotated[float, Range(above=0)] = 0.0078
    first_step: Annotated[float, Range(above=0)] = 0.01
    safety: Annotated[float, Range(above=0, most=1)] = 0.9
    exponent: Annotated[float, Range(above=0)] = 0.9
    most_steps: Annotated[int, Range(least=1)] = 100_000

    @property
    def evaluations(self) -> None:
        return None

    def update_fn(self, model: Model[SDE], x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        sde = model.process
        start, whole = t, t - s
        path, walked = BrownianPath(noise, x.shape), torch.zeros_like(x)
        mean, previous = x, x
        # The way in shares of the whole: how far it is done, and how far to go next.
        done, wanted = torch.zeros_like(t), self.first_step * sde.T / whole
        for _ in range(self.most_steps):
            moving = done < 1
            if not bool(moving.any()):
                return Step(x, mean)
            # A sample that has arrived stands still: a step of length zero from its time.
            step = rung(wanted).minimum(1 - done)
            length, then = step * whole, torch.where(done + step == 1, s, start - (done + step) * whole)
            reached = path(done + step)
            fresh = expand(whole.sqrt(), x) * (reached - walked)
            first = self._move(model, sde, x, x, t, length)
            here, there = (expand(sde.sde(x, at).diffusion, x) for at in (t, then))
            trial = first + here * fresh
            second = self._move(model, sde, x, trial, then, length)
            improved = (first + second) / 2
            new = improved + (here + there) / 2 * fresh
            tolerance = (self.relative * torch.maximum(trial.abs(), previous.abs())).clamp(min=self.absolute)
            error = ((trial - new) / tolerance).flatten(1).double().square().mean(1).sqrt()
            accepted = moving & (error <= 1)
            taken = accepted.reshape(-1, *(1,) * (x.ndim - 1))
            x, mean = torch.where(taken, new, x), torch.where(taken, improved, mean)
            previous, walked = torch.where(taken, trial, previous), torch.where(taken, reached, walked)
            t, done = torch.where(accepted, then, t), torch.where(accepted, done + step, done)
            wanted = step * self.safety * error.clamp(min=1e-6) ** -self.exponent
        raise ValueError(
            f"adaptive_sde did not arrive in {self.most_steps} steps; loosen relative={self.relative} "
            f"or absolute={self.absolute}."
        )

    def _move(self, model: Model[SDE], sde: SDE, x: Tensor, at: Tensor, t: Tensor, length: Tensor) -> Tensor:
        """``x`` moved by the reverse drift at the state ``at`` and time t."""
        c = sde.sde(at, t)
        return x - expand(length, x) * (c.drift - expand(c.diffusion**2, x) * model(at, t).score)
