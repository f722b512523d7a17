"""A mode of the program: the seconds that a network evaluation takes."""

import time
from dataclasses import dataclass
from typing import Annotated

import torch

from run_lib.config import plans
from run_lib.config.mode import Mode, register_mode
from sde_lib import Noise, Range


@register_mode
@dataclass(frozen=True)
class Speed(Mode):
    """Prints the seconds of an evaluation of the sampler's model.

    Args:
        calls: evaluations that are timed.
    """

    calls: Annotated[int, Range(least=1)] = 10

    def plan(self, configuration):
        return plans.sampling(configuration)

    def work(self, plan, run):
        x, model = plan.model.process.prior_sampling((1, *plan.data.shape), Noise(0, [0])), plan.model
        started = time.perf_counter()
        with torch.no_grad():
            for _ in range(self.calls):
                model(x, plan.model.process.time([plan.model.process.start]))
        print(f"{self.calls} evaluations, {(time.perf_counter() - started) / self.calls:.2g} s each")
