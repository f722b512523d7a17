"""An SDE discretised to a chain, for the variational bound of a network that was trained on the SDE."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from models.base import device_of
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import TimeEncoding
from sde_lib.base import GaussianSDE, Marginal
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.needs import serves
from sde_lib.rates import PathRates


class TimeOfLevel(TimeEncoding):
    """Labels of a network trained on an SDE, for the levels of a chain that discretises it.

    Args:
        time: what the network is told of the SDE's time.
        chain: the levels.
        times: of the levels, cleanest first, (N,).
    """

    times: Tensor

    def __init__(self, time: TimeEncoding, chain: DiscreteDiffusion, times: Tensor) -> None:
        super().__init__()
        self.time, self.chain = time, chain
        self.register_buffer("times", times, persistent=False)

    def labels(self, t: Tensor) -> Tensor:
        return self.time.labels(self.times[t])

    def marginal(self, t: Tensor) -> Marginal:
        return self.chain.marginal(t)

    def path_rates(self, t: Tensor) -> PathRates | None:
        return self.time.path_rates(self.times[t])


class CutLevels:
    """Discretises a model of an SDE to ``num_levels`` of its times.

    The levels are evenly spaced in log-SNR from T to an end near clean data: a fixed variance costs the square of
    a step in log-SNR, so no other spacing of as many costs less (where data are spread wider than the noise, a
    quarter of the square each). The closing step's width is that of p(x_0 | x_t) for such data, sigma / alpha.

    Args:
        num_levels: of the chain.
        last_noise: sigma / alpha of the cleanest level; None: that of ``t_end``, the smallest time at which
            samplers evaluate the model.
    """

    needs: ClassVar[type] = GaussianSDE

    def __init__(self, num_levels: int, last_noise: float | None = None) -> None:
        self.num_levels, self.last_noise = num_levels, last_noise

    def __call__(self, model: NoiseModel) -> NoiseModel:
        """The same network, fed the SDE's labels, as a model of the chain.

        Raises:
            ValueError: the process has no Gaussian marginal.
        """
        process: GaussianSDE = model.process
        if not serves(process, self):
            raise ValueError(
                f"levels are cut from a GaussianSDE, and {type(process).__name__} is none; it has no bound."
            )
        ends = process.marginal(process.time([process.t_end, process.signal_start]))
        first, last = ends.log_snr.tolist()
        if self.last_noise is not None:
            first = -2 * math.log(self.last_noise)
        log_snr = torch.linspace(first, last, self.num_levels, dtype=torch.float64, device=ends.alpha.device)
        times = process.time_of((-log_snr / 2).exp())
        m = process.marginal(times)
        chain = DiscreteDiffusion(
            alphas=m.alpha,
            sigmas=m.sigma,
            prior_std=process.prior_std,
            closing_std=float(m.sigma[0] / m.alpha[0]),
        )
        cut = NoiseModel(
            model.network,
            chain,
            TimeOfLevel(model.time, chain, times),
            model.output,
            model.variance,
            model.evaluator,
        )
        return cut.to(device_of(model))  # its tables: those of a process may lie on the CPU
