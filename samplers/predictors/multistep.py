"""One step of an exponential Adams method: what the multistep predictors share. Not a predictor itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from models.prediction.noise_model import Prediction
from samplers.base import Advance, Evaluation, GaussianModel, Memory, Step
from sde_lib.base import GaussianProcess, Marginal, coefficients
from sde_lib.exponential import Form, Weights, log_ratio
from sde_lib.noise import Noise


class Rule(Protocol):
    """Coefficients of a step from the values at some nodes, as ``sde_lib.exponential.weights`` with a fixed
    view: a method of the predictor, asked once for all steps of a run.
    """

    def __call__(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights: ...


def view(prediction: Prediction, form: Form, data_std: float = 1.0) -> Tensor:
    """The view of a prediction that a method interpolates; ``v`` is of data divided by ``data_std``."""
    value: Tensor = prediction.scaled_v(data_std) if form == "v" else getattr(prediction, form)
    return value


def check_order(name: str, order: int, allowed: range) -> None:
    """Refuse an order that a method does not have.

    Raises:
        ValueError: with those that it has.
    """
    if order not in allowed:
        raise ValueError(f"{name} has orders {allowed[0]} to {allowed[-1]}, got {order}.")


def predicting(rule: Rule, process: GaussianProcess, *times: Tensor) -> Weights:
    """A step to the last of the times from the one before, with values at all others, the latest first."""
    *used, then = [process.marginal(time) for time in times]
    return rule(used[-1], then, [log_ratio(level) for level in reversed(used)])


def correcting(rule: Rule, process: GaussianProcess, *times: Tensor) -> Weights:
    """The same step, with the value at its end too."""
    levels = [process.marginal(time) for time in times]
    return rule(levels[-2], levels[-1], [log_ratio(level) for level in reversed(levels)])


@dataclass(frozen=True)
class AdamsStep:
    """Evaluate at t, correct the step that led there (no further evaluation), predict the next.

    Args:
        form: the view that is interpolated.
        rule: the coefficients; the node at t is the first.
        explicit: values in the predicting formula; fewer while the memory fills.
        implicit: values in the correcting formula, the new one included; zero: no correction.
        correcting: the coefficients of the correcting formula, where they are others; the node at s is the
        first.
        data_std: of the data, for the form ``v``.
        keeps_data: whether a correction of the state leaves the predicted data as they are, and not the view.
    """

    form: Form
    rule: Rule
    explicit: int
    implicit: int = 0
    correcting: Rule | None = None
    data_std: float = 1.0
    keeps_data: bool = False

    def __call__(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        process = model.process
        prediction, past = model(x, t), memory.past
        value = view(prediction, self.form, self.data_std)
        if self.implicit and past:
            x = self._corrected(process, t, value, memory)
            if self.keeps_data:
                value = view(prediction.moved(x), self.form, self.data_std)
        past = (Evaluation(t, x, value), *past)[: max(self.explicit, self.implicit - 1)]
        used = past[: self.explicit]
        step = coefficients(x, predicting, self.rule, process, *[e.t for e in reversed(used)], s)
        mean = step.mean(x, [e.value for e in used])
        if step.std is None:
            return Advance(Step(mean, mean), Memory(past))
        fresh = step.std * noise.normal(x.shape)
        return Advance(Step(mean + fresh, mean), Memory(past, fresh))

    def _corrected(self, process: GaussianProcess, t: Tensor, value: Tensor, memory: Memory) -> Tensor:
        """The last step again, with the value at its end among the nodes and with the same noise."""
        last, used = memory.past[0], memory.past[: self.implicit - 1]
        rule = self.correcting or self.rule
        step = coefficients(last.x, correcting, rule, process, *[e.t for e in reversed(used)], t)
        x = step.mean(last.x, [value, *(e.value for e in used)])
        return x if memory.fresh is None else x + memory.fresh
