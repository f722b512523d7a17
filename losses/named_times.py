"""Distributions of training times by name: what ``training.times`` chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from losses.edm import LogNormalTimes
from losses.flow_times import LogitNormalTimes, ModeTimes
from losses.importance import LossSecondMoment
from losses.least_variance import LeastVarianceTimes, Monotone
from losses.times import StratifiedLevels, StratifiedTimes, TimeSampler, UniformLevels, UniformTimes
from sde_lib.base import GaussianSDE, Process
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.needs import serves
from sde_lib.registry import Registry
from sde_lib.settings import Range

register_times: Registry[Callable[..., TimeSampler]] = Registry("training.times")
"""Functions or ``TimeSampler`` classes. One that names ``process`` is given the process; every other parameter is a
setting."""


register_times(name="log_normal")(LogNormalTimes)
register_times(name="logit_normal")(LogitNormalTimes)
register_times(name="mode")(ModeTimes)


def _serving(process: Process, *kinds: type[TimeSampler]) -> TimeSampler:
    """The first of the distributions that works with the process, as their ``needs`` say."""
    return next((kind for kind in kinds if serves(process, kind)), kinds[-1])()


@register_times(name="uniform")
def uniform(process: Process) -> TimeSampler:
    """Uniform times of an SDE, uniform levels of a chain."""
    return _serving(process, UniformLevels, UniformTimes)


@register_times(name="stratified")
def stratified(process: Process) -> TimeSampler:
    """One time from each of as many equal parts as the batch has samples: the loss varies less."""
    return _serving(process, StratifiedLevels, StratifiedTimes)


@register_times(name="least_variance")
def least_variance(
    process: GaussianSDE, pieces: Annotated[int, Range(least=1, most=10**4)] = 32
) -> TimeSampler:
    """A density over the log-SNR that is learned, so that the loss varies least (VDM, i-DODE).

    Args:
        pieces: of the density.
    """
    if not serves(process, LeastVarianceTimes):
        raise ValueError(
            "training.times='least_variance' is a distribution over the log-SNR of an SDE with a Gaussian marginal: "
            "set training.sde='vdm', or times='importance' for a chain."
        )
    return LeastVarianceTimes(process, Monotone(pieces))


@register_times(name="importance")
def importance(
    process: DiscreteDiffusion,
    history: Annotated[int, Range(least=1, most=10**5)] = 10,
    uniform_share: Annotated[float, Range(above=0, most=1)] = 0.001,
) -> TimeSampler:
    """Levels of a chain in proportion to sqrt(E[L_t^2]) (Nichol & Dhariwal 2021, eq. 18).

    Args:
        history: losses kept of each level.
        uniform_share: of the distribution, spread evenly so that no level is forgotten; in (0, 1].
    """
    if not serves(process, LossSecondMoment):
        raise ValueError("training.times='importance' counts the levels of a chain: set training.sde='ddpm'.")
    return LossSecondMoment(num_levels=process.num_levels, history=history, uniform=uniform_share)
