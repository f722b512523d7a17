"""An evaluation: how far samples lie from the data's mean."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from run_lib.evaluation.base import Evaluation, register_evaluation
from run_lib.sample import draw
from sde_lib import Range


@register_evaluation
@dataclass(frozen=True)
class Bias(Evaluation):
    """The norm of the difference between the mean of samples and that of the test split.

    Args:
        bias_samples: samples that are drawn.
    """

    bias_samples: Annotated[int, Range(least=1)] = 100

    def check(self, plan):
        plan.data.load("test")

    def evaluate(self, task):
        if task.has("bias"):  # made before an interruption
            return
        samples = draw(task.plan.samples, range(self.bias_samples)).levels.double().flatten(1).mean(0)
        truth = task.plan.data.load("test").images.double().flatten(1).mean(0)
        bias = float(np.linalg.norm((samples - truth).numpy()))
        task.report.add(task.number("bias", bias, None, count=self.bias_samples, unit=""))
