"""A classifier of noisy states."""

from __future__ import annotations

import abc
from typing import final

import torch
from torch import Tensor, nn

from models.base import Evaluate
from models.prediction.inference import evaluated
from models.prediction.time_encoding import TimeEncoding
from sde_lib.base import Process


class Classifier(nn.Module, abc.ABC):
    """A classifier of noisy states, p(y | x_t).

    Attributes:
        process: the forward process whose states it is shown.
    """

    process: Process

    @abc.abstractmethod
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits (B, classes) of states ``x`` (B, ...) at times ``t`` (B,)."""


@final
class NoisyClassifier(Classifier):
    """A network as a classifier of noisy states, p(y | x_t) (Dhariwal & Nichol 2021, section 4).

    It is fed the same labels as a model of the same process.

    Args:
        network: evaluated as ``network(x, labels)``; one logit for each class.
        process: the forward process.
        time: what the network is told about time.
        evaluator: evaluates the network, in another precision or compiled; None: it is called.
    """

    def __init__(
        self, network: nn.Module, process: Process, time: TimeEncoding, evaluator: Evaluate | None = None
    ) -> None:
        super().__init__()
        self.network, self.process, self.time, self.evaluator = network, process, time, evaluator

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        labels = self.time.labels(t).to(torch.promote_types(x.dtype, torch.float32))
        return evaluated(self.network, x, labels) if self.evaluator is None else self.evaluator(x, labels)
