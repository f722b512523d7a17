"""Exponential Adams methods: one evaluation a step, order as high as the memory is long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from samplers.base import Advance, GaussianModel, Memory, MultistepPredictor, register_predictor
from samplers.predictors.multistep import AdamsStep, check_order
from sde_lib.base import GaussianProcess, Marginal
from sde_lib.exponential import Form, Weights, weights
from sde_lib.noise import Noise
from sde_lib.settings import Range


@register_predictor(name="adams")
@dataclass(frozen=True)
class ExponentialAdams(MultistepPredictor[GaussianProcess]):
    """Adams-Bashforth of order ``order`` in log(alpha/sigma), the linear part solved exactly
    (Hochbruck & Ostermann 2010, eq. 2.45; Zhang & Chen 2023, eq. 15, for ``eps``).

    With ``corrected`` the step that led to t is taken again once its end has been evaluated: Adams-Moulton
    on top of a predictor one order lower, with no further evaluation (Zhao et al. 2023, section 3.1).
    Its first steps are of lower order, while the memory fills.

    The linear part of the form ``v`` is exact for data that are N(0, data_std^2 I): then v is zero, and a step of any
    length is the flow. As data_std grows the form becomes ``eps``, as it falls ``x0``.

    A correction moves the state that was evaluated. With ``keeps_data`` the predicted data then stay as they are and
    the view is taken anew, else the view stays. Where the noise is narrower than all data and wider than a mode, the
    predicted data say which mode it is and hardly depend on the state, while eps and v do.

    Args:
        order: order of convergence, 1 to 4; 2 to 5 with ``corrected``.
        form: the view of the model's prediction that is interpolated; ``v`` varies least over the whole range of noise.
        corrected: whether each step is taken again with the evaluation at its end (Adams-Moulton).
        data_std: the standard deviation of the data that the form ``v`` takes for granted.
        shape: of the multiquadrics through the values (Hardy 1971), in units of log(sigma/alpha): of high order where
            steps are shorter, and without overshoot where they are longer; infinite: polynomials.
        keeps_data: whether a corrected state keeps the predicted data, and not the view.
    """

    order: Annotated[int, Range(least=1, most=5)] = 3
    form: Form = "v"
    corrected: bool = False
    data_std: Annotated[float, Range(above=0)] = 1.0
    shape: Annotated[float, Range(above=0, finite=False)] = math.inf
    keeps_data: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order("adams", self.order, range(2, 6) if self.corrected else range(1, 5))
        if self.data_std != 1 and self.form != "v":
            raise ValueError(
                f"adams has a data_std in the form 'v' alone, and this is {self.form!r}: leave data_std at 1."
            )
        if self.keeps_data and not self.corrected:
            raise ValueError(
                "adams keeps_data when it corrects, and this does not: set corrected, or leave keeps_data."
            )

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        step = AdamsStep(
            self.form,
            self._rule,
            explicit=self.order - self.corrected,
            implicit=self.order * self.corrected,
            data_std=self.data_std,
            keeps_data=self.keeps_data,
        )
        return step(model, x, t, s, noise, memory)

    def _rule(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        return weights(self.form, now, then, nodes, data_std=self.data_std, shape=self.shape)
