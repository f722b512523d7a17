"""Classifier guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, final, get_args

from torch import Tensor

from models.prediction.classifier import Classifier
from models.prediction.noise_model import Model, Prediction
from samplers.guidance.base import Guided, Scale
from samplers.guidance.gradient import confined, gradient
from samplers.guidance.interval import Bounds
from sde_lib.needs import GivenProcess

Shift = Literal["score", "mean"]
"""What the gradient moves: the score, for every sampler, or the mean of the reverse step, for the ancestral one."""


@final
class ClassifierGuidance(Guided[GivenProcess]):
    """Guidance by g = scale grad log p(y | x_t) of a classifier of noisy states, conditioning ``y`` (B,).

    ``score``: score + g (Song et al. 2021, eq. 14; Dhariwal & Nichol 2021, algorithm 2), so that every
    predictor, corrector, the probability flow and its likelihood are guided. At scale 1, with the classifier
    of the model's own density, it is the score of p(x_t | y).

    ``mean``: the mean of an ancestral step from t to s is moved by V g, V the variance of the step
    (Sohl-Dickstein et al. 2015, appendix C; Dhariwal & Nichol 2021, algorithm 1), and the prediction is left
    as it is. The move of the first form is (alpha_s / alpha_t) Var[x_t | x_s] g: on a VP chain the two differ
    by the factor V sqrt(1 - beta) / beta, which tends to 1 as steps become small.

    Args:
        classifier: of noisy states of the same process.
        conditional: whether the model is given ``y`` as well.
        shift: what the gradient moves, the ``score`` or the ``mean`` of the reverse step.

    Raises:
        ValueError: an unknown shift; no labels.
    """

    def __init__(
        self,
        model: Model[GivenProcess],
        classifier: Classifier,
        scale: Scale = 1.0,
        interval: Bounds | None = None,
        conditional: bool = False,
        shift: Shift = "score",
    ) -> None:
        super().__init__(model, scale, interval)
        if shift not in get_args(Shift):
            raise ValueError(f"classifier guidance shifts the score or the mean; got {shift!r}.")
        self.classifier, self.conditional, self.shift = classifier, conditional, shift

    def forward(self, x: Tensor, t: Tensor, *, y: Tensor | None = None, **cond: Any) -> Prediction:
        if y is None:
            raise ValueError("classifier guidance needs labels: give y, one class a sample.")
        told = {"y": y} if self.conditional else {}
        prediction: Prediction = self.model(x, t, **told, **cond)
        found = gradient(lambda at: self._log_prob(at, t, y), x)
        move = self.scale * confined(found, self.inside(t))
        if self.shift == "score":
            return prediction.plus_score(move)
        return replace(prediction, mean_gradient=move)

    def _log_prob(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = self.classifier(x, t)
        return logits.log_softmax(1).gather(1, y[:, None])[:, 0]
