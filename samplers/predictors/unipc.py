"""UniPC: a unified predictor-corrector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from samplers.base import Advance, GaussianModel, Memory, MultistepPredictor, register_predictor
from samplers.predictors.multistep import AdamsStep
from sde_lib.base import GaussianProcess, Marginal
from sde_lib.exponential import Weights, log_ratio, weights
from sde_lib.noise import Noise
from sde_lib.settings import Range

Form = Literal["x0", "eps"]
BH = Literal["bh1", "bh2"]


def unified_weights(
    form: Form, bh: BH, current: int, now: Marginal, then: Marginal, nodes: Sequence[Tensor]
) -> Weights:
    """UniP's and UniC's coefficients (Zhao et al. 2023, eq. 3, 7 and 9).

    With three values or more their linear system has one solution, whatever B(h): the exact integrals. With
    two, the paper takes a_1 = 1/2: the slope's part is then B(h)/2, B(h) = -h or e^(-h) - 1 for data and h or
    e^h - 1 for noise, not the integral of the line.

    Args:
        form: the view that is interpolated.
        bh: which B(h).
        current: which node is at t.
        now, then, nodes: as for ``sde_lib.exponential.weights``.
    """
    if len(nodes) != 2:
        return weights(form, now, then, nodes)
    constant = weights(form, now, then, [nodes[current]])
    h = log_ratio(then) - log_ratio(now)
    signed, scale = (-h, then.alpha) if form == "x0" else (h, then.sigma)
    B = signed if bh == "bh1" else torch.expm1(signed)
    other = -scale * B * h / (2 * (nodes[1 - current] - nodes[current]))
    values = [constant.values[0] - other, other]
    return Weights(constant.state, tuple(values if current == 0 else values[::-1]), None)


@register_predictor(name="unipc")
@dataclass(frozen=True)
class UniPC(MultistepPredictor[GaussianProcess]):
    """UniP-p followed by UniC-p, which is of order p + 1 and costs no further evaluation (Zhao et al. 2023).

    Its first steps are of lower order. There is no step to zero noise, at which bh1 has no value.

    Args:
        solver_order: order p of the predictor, 1 to 4; with the corrector the order of convergence is p + 1.
        form: the view of the prediction that is interpolated.
        bh: the paper's function B(h): ``bh1`` is h, ``bh2`` is e^h - 1.
    """

    solver_order: Annotated[int, Range(least=1, most=4)] = 2
    form: Form = "x0"
    bh: BH = "bh2"

    @property
    def order(self) -> int:
        return self.solver_order + 1

    def advance(
        self, model: GaussianModel, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        step = AdamsStep(
            self.form,
            self._predicting,
            explicit=self.solver_order,
            implicit=self.solver_order + 1,
            correcting=self._correcting,
        )
        return step(model, x, t, s, noise, memory)

    def _predicting(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        return unified_weights(self.form, self.bh, 0, now, then, nodes)

    def _correcting(self, now: Marginal, then: Marginal, nodes: Sequence[Tensor]) -> Weights:
        return unified_weights(self.form, self.bh, 1, now, then, nodes)
