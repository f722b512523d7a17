"""How a network is told the time, and at which noise level its output is read.

Published weights give noise when fed the wrong labels, so each convention has a class here and nowhere
else. ``labels`` maps the process's time to what the network is fed; ``marginal`` is the noise level at
which its output was trained, from which the other views of a prediction are computed.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sde_lib.base import GaussianProcess, Marginal, Process
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.rates import PathRates
from sde_lib.vdm import VDM


class TimeEncoding(nn.Module, abc.ABC):
    """A map from the time of a process to the labels that a network is fed."""

    @abc.abstractmethod
    def labels(self, t: Tensor) -> Tensor:
        """(B,) times -> (B,) labels."""

    @abc.abstractmethod
    def marginal(self, t: Tensor) -> Marginal | None:
        """The noise level that the output refers to; None where the process has no Gaussian marginal."""

    def path_rates(self, t: Tensor) -> PathRates | None:
        """alpha' and sigma' there, which the velocity of flow matching has in it; None where time is discrete."""
        return None

    def rescaled(self) -> TimeEncoding:
        """The same labels rescaled to a chain of 1000 levels (ADM's ``rescale_timesteps``).

        Raises:
            ValueError: the labels are no indices of a chain.
        """
        raise ValueError(
            f"rescale_timesteps scales the indices of a chain, and {type(self).__name__} labels are none; "
            f"unset it or take a chain, such as training.sde='ddpm'."
        )

    def sigmas_by_label(self) -> Tensor | None:
        """The noise level of each label, where labels count levels down from the noisiest; None elsewhere."""
        return None


def _path_rates(process: Process, t: Tensor) -> PathRates | None:
    rates: Callable[[Tensor], PathRates] | None = getattr(process, "path_rates", None)
    return rates(t) if rates else None


class Time(TimeEncoding):
    """Labels ``scale * t``: 999 t for VP and subVP networks of score_sde (continuous training); or, counted from noise,
    ``scale * (start - t)``.

    Serves any process. A process without a Gaussian marginal has predictions with a score alone.
    """

    def __init__(self, process: Process, scale: float = 1.0, from_noise: bool = False) -> None:
        super().__init__()
        self.process, self.scale, self.from_noise = process, scale, from_noise

    def labels(self, t: Tensor) -> Tensor:
        return (self.process.start - t if self.from_noise else t) * self.scale

    def marginal(self, t: Tensor) -> Marginal | None:
        # Asked each time: a process that is moved to another device is another object.
        level: Callable[[Tensor], Marginal] | None = getattr(self.process, "marginal", None)
        return level(t) if level else None

    def path_rates(self, t: Tensor) -> PathRates | None:
        return _path_rates(self.process, t)


class NoiseLevel(TimeEncoding):
    """Labels sigma(t), for VE networks of score_sde (continuous training), which take the logarithm themselves."""

    def __init__(self, process: GaussianProcess) -> None:
        super().__init__()
        self.process = process

    def labels(self, t: Tensor) -> Tensor:
        return self.process.marginal(t).sigma

    def marginal(self, t: Tensor) -> Marginal:
        return self.process.marginal(t)

    def path_rates(self, t: Tensor) -> PathRates | None:
        return _path_rates(self.process, t)


class LogNoiseLevel(TimeEncoding):
    """Labels ``scale`` times where log(sigma^2 / alpha^2) lies between the ends that were set, of networks of VDM."""

    def __init__(self, process: VDM, scale: float = 1.0) -> None:
        super().__init__()
        self.process, self.scale = process, scale

    def labels(self, t: Tensor) -> Tensor:
        return self.process.label(t) * self.scale

    def marginal(self, t: Tensor) -> Marginal:
        return self.process.marginal(t)

    def path_rates(self, t: Tensor) -> PathRates | None:
        return _path_rates(self.process, t)


class ChainIndex(TimeEncoding):
    """Labels of a chain: a level's index in the chain that the network was trained on.

    Args:
        chain: the process itself, respaced or not.
        scale: 1000 / original_levels for ADM's ``rescale_timesteps``; one otherwise.
        descending: index 0 is the noisiest level, as SMLD networks of score_sde have it.
    """

    def __init__(self, chain: DiscreteDiffusion, scale: float = 1.0, descending: bool = False) -> None:
        super().__init__()
        self.chain, self.scale, self.descending = chain, scale, descending

    def labels(self, t: Tensor) -> Tensor:
        index = self.chain.original[t]
        return (self.chain.original_levels - 1 - index if self.descending else index) * self.scale

    def rescaled(self) -> TimeEncoding:
        return ChainIndex(self.chain, 1000 / self.chain.original_levels, self.descending)

    def sigmas_by_label(self) -> Tensor | None:
        return self.chain.sigmas[1:].flip(0) if self.descending else None

    def marginal(self, t: Tensor) -> Marginal:
        return self.chain.marginal(t)


class FractionalIndex(TimeEncoding):
    """Labels of an interpolated chain: the real index, which at a whole one is ``ChainIndex``'s label.

    The label is the index itself, of a respaced chain that of the chain the network was trained on, straight
    between two levels; the noise level is the interpolated chain's there.

    Args:
        process: the chain at every real index.
        chain: its levels.
        scale, descending: as for ``ChainIndex``.
    """

    def __init__(
        self,
        process: InterpolatedChain,
        chain: DiscreteDiffusion,
        scale: float = 1.0,
        descending: bool = False,
    ) -> None:
        super().__init__()
        self.process, self.chain, self.scale, self.descending = process, chain, scale, descending

    def labels(self, t: Tensor) -> Tensor:
        below = t.detach().long().clamp(0, self.chain.num_levels - 2)
        original = self.chain.original.double()
        index = torch.lerp(original[below], original[below + 1], t.double() - below)
        return (self.chain.original_levels - 1 - index if self.descending else index) * self.scale

    def rescaled(self) -> TimeEncoding:
        return FractionalIndex(self.process, self.chain, 1000 / self.chain.original_levels, self.descending)

    def marginal(self, t: Tensor) -> Marginal:
        return self.process.marginal(t)

    def path_rates(self, t: Tensor) -> PathRates | None:
        return self.process.path_rates(t)


class LevelOfTime(TimeEncoding):
    """Labels of an SDE for a network trained on a chain: its time as an index (score_sde, discrete VP).

    The label is t (N - 1), unrounded; the noise level is the chain's at the truncated index.

    Args:
        chain: what the network was trained on.
        T: the SDE's final time.
    """

    def __init__(self, chain: DiscreteDiffusion, T: float = 1.0) -> None:
        super().__init__()
        self.chain, self.scale = chain, (chain.num_levels - 1) / T

    def labels(self, t: Tensor) -> Tensor:
        return t * self.scale

    def marginal(self, t: Tensor) -> Marginal:
        return self.chain.marginal(self.labels(t).long())


class DescendingLevelOfTime(TimeEncoding):
    """Labels of an SDE for a network trained on a chain that counts down: a rounded index (score_sde, discrete VE).

    Args:
        process: the SDE, whose sigma is taken at the time itself.
        num_levels: of the chain that the network was trained on.
    """

    def __init__(self, process: GaussianProcess, num_levels: int) -> None:
        super().__init__()
        self.process, self.num_levels = process, num_levels

    def labels(self, t: Tensor) -> Tensor:
        start = self.process.start
        return torch.round((start - t) / start * (self.num_levels - 1))

    def marginal(self, t: Tensor) -> Marginal:
        return self.process.marginal(t)
