"""The sampler's own cost: the share of the time that passes outside the network.

    python benchmarks/loop_overhead.py                  # the CIFAR-10 DDPM at batch 16: two minutes on a CPU
    python benchmarks/loop_overhead.py --device cuda    # seconds

The clock stops around every evaluation of the network. On a GPU it waits for the device first, so that work
which would overlap is counted twice: the share is an upper bound. The sampler is reverse diffusion with one
closing estimate, and again with a Langevin corrector. Exits with 1 above 2 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.networks.ddpm import DDPM
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import Corrector, PCSampler
from samplers.correctors.langevin import Langevin
from samplers.correctors.none import NoneCorrector
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from sde_lib import VPSDE, Noise
from sde_lib.grids import Uniform

LIMIT = 0.02


class Clock:
    """Seconds spent inside a module."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.inside, self._device, self._entered = 0.0, device, 0.0
        module.register_forward_pre_hook(self._enter)
        module.register_forward_hook(self._leave)

    def now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _enter(self, *_: Any) -> None:
        self._entered = self.now()

    def _leave(self, *_: Any) -> None:
        self.inside += self.now() - self._entered


@dataclass(frozen=True)
class Cost:
    """Seconds of a run and how many of them its network took."""

    total: float
    network: float
    nfe: int

    @property
    def share(self) -> float:
        return 1 - self.network / self.total


def measure(corrector: Corrector, device: torch.device, batch: int, steps: int) -> Cost:
    """One run of ``steps`` times, after a warm-up of two."""
    process = VPSDE()
    network = DDPM().eval().to(device)
    model = NoiseModel(network, process, Time(process, scale=999.0), "eps")
    clock = Clock(network, device)
    shape = (batch, 3, 32, 32)
    for count in (2, steps):
        sampler = PCSampler(model, ReverseDiffusion(), corrector, Uniform().times(process, count))
        clock.inside, begun = 0.0, clock.now()
        result = sampler.sample(shape, Noise(0, range(batch), device=device))
        total = clock.now() - begun
    return Cost(total, clock.inside, result.nfe)


def main() -> None:
    parser = argparse.ArgumentParser(description="The sampler's own cost.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    worst = 0.0
    for name, corrector in (("none", NoneCorrector()), ("langevin", Langevin())):
        cost = measure(corrector, torch.device(args.device), args.batch, args.steps)
        worst = max(worst, cost.share)
        each = 1000 * (cost.total - cost.network) / cost.nfe
        print(
            f"corrector {name:9} {cost.nfe:4d} evaluations  {cost.total:8.2f} s  "
            f"outside the network {each:7.3f} ms each, {100 * cost.share:.3f} %"
        )
    sys.exit(int(worst > LIMIT))


if __name__ == "__main__":
    main()
