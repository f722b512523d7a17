"""A network as a model of a process: the only place that knows parameterisations.

A network may output the noise eps, the data x0, the score or the velocity v; a ``Prediction`` is one
evaluation seen as any of them. With x_t = alpha x0 + sigma eps and r^2 = alpha^2 + sigma^2,

    score = -eps / sigma,    v = (alpha eps - sigma x0) / r,

so that v is Salimans & Ho's (2022) for VP (r = 1) and stays of unit scale for every other process.
The velocity of flow matching is such a v times a number, plus the state times another (``models.prediction.velocity``).
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, get_args

import torch
from torch import Tensor, nn

from models.base import Evaluate
from models.prediction.inference import evaluated
from models.prediction.time_encoding import TimeEncoding
from models.prediction.variances import LearnedVariance, VarianceOutput, check_variance_output, split_output
from models.prediction.velocity import VELOCITIES
from sde_lib.base import GaussianProcess, coefficients
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.needs import GivenProcess
from sde_lib.timetable import mapped, tabulated_time

View = Literal["eps", "x0", "score", "v"]
"""A way to look at a prediction."""

Output = Literal["eps", "x0", "score", "v", "velocity", "reversed_velocity", "previous"]
"""What a network's output means; "velocity" is d x_t / dt, from data to noise, and "reversed_velocity" -d x_t / dt, of
an SDE; "previous" is the mean of x_{t-1} given x_t, on a chain."""


@dataclass(frozen=True)
class OfVelocity:
    """What x and v are multiplied by: x0 = (alpha / r^2) x - (sigma / r) v, eps = (sigma / r^2) x + (alpha / r) v.

    Each is shaped like alpha.
    """

    x_in_x0: Tensor
    v_in_x0: Tensor
    x_in_eps: Tensor
    v_in_eps: Tensor

    @classmethod
    def at(cls, alpha: Tensor, sigma: Tensor) -> OfVelocity:
        """Of a level."""
        r = torch.hypot(alpha, sigma)
        return cls(alpha / r**2, -sigma / r, sigma / r**2, alpha / r)


@dataclass(frozen=True)
class Prediction:
    """One evaluation of a model at states ``x``; every view is shaped like ``x``.

    ``alpha`` and ``sigma`` are shaped to multiply ``x``; None where the process has no Gaussian
    marginal, whose predictions have a score and no other view. ``variance`` is what the network says of
    the variance of its reverse step; None where it says nothing. ``mean_gradient``, shaped like ``x``, moves
    the mean of the reverse step by itself times that variance; None: it does not. ``renoise``, shaped like ``x``,
    is the noise that a step of DDIM puts back; None: that of the prediction. ``of_v`` are the factors of a
    prediction that is ``v``; None: they are computed from the level.
    """

    x: Tensor
    alpha: Tensor | None
    sigma: Tensor | None
    output: Tensor
    kind: View
    variance: LearnedVariance | None = None
    mean_gradient: Tensor | None = None
    renoise: Tensor | None = None
    of_v: OfVelocity | None = None

    def _level(self) -> tuple[Tensor, Tensor]:
        if self.alpha is None or self.sigma is None:
            raise ValueError(
                "this process has no Gaussian marginal, so its predictions have a score only; "
                "eps, x0 and v need a GaussianSDE or a chain."
            )
        return self.alpha, self.sigma

    def _of_v(self) -> OfVelocity:
        return OfVelocity.at(*self._level()) if self.of_v is None else self.of_v

    @property
    def eps(self) -> Tensor:
        """The noise: E[eps | x_t]."""
        if self.kind == "eps":
            return self.output
        alpha, sigma = self._level()
        if self.kind == "x0":
            return torch.addcmul(self.x, alpha, self.output, value=-1) / sigma
        if self.kind == "score":
            return -sigma * self.output
        of_v = self._of_v()
        return torch.addcmul(of_v.x_in_eps * self.x, of_v.v_in_eps, self.output)

    @property
    def x0(self) -> Tensor:
        """The data: E[x_0 | x_t]."""
        if self.kind == "x0":
            return self.output
        if self.kind == "v":
            of_v = self._of_v()
            return torch.addcmul(of_v.x_in_x0 * self.x, of_v.v_in_x0, self.output)
        alpha, sigma = self._level()
        if self.kind == "score":
            return torch.addcmul(self.x, sigma, sigma * self.output) / alpha
        return torch.addcmul(self.x, sigma, self.output, value=-1) / alpha

    @property
    def score(self) -> Tensor:
        """The score: the gradient of log p_t at x_t."""
        if self.kind == "score":
            return self.output
        _, sigma = self._level()
        return -self.eps / sigma

    @property
    def v(self) -> Tensor:
        """The velocity v = (alpha eps - sigma x0) / r (Salimans & Ho 2022, section 4)."""
        if self.kind == "v":
            return self.output
        alpha, sigma = self._level()
        eps = self.eps  # once for both
        x0 = self.output if self.kind == "x0" else torch.addcmul(self.x, sigma, eps, value=-1) / alpha
        return torch.addcmul(alpha * eps, sigma, x0, value=-1) / torch.hypot(alpha, sigma)

    def scaled_v(self, data_std: float) -> Tensor:
        """v of the data divided by ``data_std``; zero, whatever the noise, for data that are N(0, data_std^2 I)."""
        if data_std == 1:
            return self.v
        alpha, sigma = self._level()
        scaled = data_std * alpha
        return (scaled * self.eps - sigma / data_std * self.x0) / (scaled**2 + sigma**2).sqrt()

    def moved(self, x: Tensor) -> Prediction:
        """The same data predicted at another state of the same level."""
        return replace(self, x=x, output=self.x0, kind="x0")

    def __getitem__(self, rows: slice) -> Prediction:
        """The prediction for some samples of the batch."""

        def of(part: Tensor | None) -> Tensor | None:
            return None if part is None else part[rows]

        return Prediction(
            x=self.x[rows],
            alpha=of(self.alpha),
            sigma=of(self.sigma),
            output=self.output[rows],
            kind=self.kind,
            variance=self.variance and replace(self.variance, values=self.variance.values[rows]),
            mean_gradient=of(self.mean_gradient),
            renoise=of(self.renoise),
            of_v=mapped(lambda part: part[rows], self.of_v),
        )

    def detached(self) -> Prediction:
        """The same prediction, detached from the autograd graph."""
        return replace(
            self,
            x=self.x.detach(),
            output=self.output.detach(),
            variance=self.variance and replace(self.variance, values=self.variance.values.detach()),
            mean_gradient=None if self.mean_gradient is None else self.mean_gradient.detach(),
            renoise=None if self.renoise is None else self.renoise.detach(),
        )

    def plus_score(self, gradient: Tensor) -> Prediction:
        """The prediction whose score is greater by ``gradient``, (B, ...).

        It is added in the view that the network gave, as no detour by another one is as precise:
        eps - sigma g, x0 + (sigma^2 / alpha) g, v - (sigma r / alpha) g.
        """
        if self.kind == "score":
            return replace(self, output=self.output + gradient)
        alpha, sigma = self._level()
        factor = {
            "eps": lambda: -sigma,
            "x0": lambda: sigma**2 / alpha,
            "v": lambda: -sigma / alpha * (alpha**2 + sigma**2).sqrt(),
        }[self.kind]()
        return replace(self, output=self.output + factor * gradient)


class Model(nn.Module, abc.ABC, Generic[GivenProcess]):
    """What samplers and likelihoods evaluate. Guidance wraps one model in another.

    Attributes:
        process: the forward process whose reverse it models.
    """

    process: GivenProcess
    _evaluations: int = 0
    """Those that the model counts itself, beside those of the models in it."""

    @property
    @abc.abstractmethod
    def nfe(self) -> int:
        """Network evaluations of a batch so far."""

    @property
    def at_pure_noise(self) -> bool:
        """Whether its predictions have every view where alpha is 0, as those of x0 and v have."""
        return False

    @property
    def one_graph(self) -> bool:
        """Whether an evaluation is one graph to the compiler: no branch on a value, no count but of evaluations.

        A wrapper's is where that of what it wraps is; one that branches says False.
        """
        return all(child.one_graph for child in self.children() if isinstance(child, Model))

    @contextlib.contextmanager
    def counting_anew(self) -> Iterator[None]:
        """Count from zero, for what is compiled together with the counting; then add what was counted before.

        A compiled function holds for the numbers that it was traced with: one that always begins at zero is compiled
        once, one that finds another count at each call is compiled at each.
        """
        counting = list(self._models())
        before = [model._evaluations for model in counting]
        for model in counting:
            model._evaluations = 0
        try:
            yield
        finally:
            for model, count in zip(counting, before, strict=True):
                model._evaluations += count

    def _models(self) -> Iterator[Model[Any]]:
        """This one and those that it wraps."""
        yield self
        for child in self.children():
            if isinstance(child, Model):
                yield from child._models()

    @abc.abstractmethod
    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        """Evaluate at states ``x`` (B, ...) and times ``t`` (B,)."""

    if TYPE_CHECKING:
        # nn.Module's returns Any.
        def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction: ...

    def given(self, **cond: Any) -> Model[GivenProcess]:
        """The same model with its conditioning fixed."""
        return Given(self, cond) if cond else self


class Given(Model[GivenProcess]):
    """A model under fixed conditioning."""

    def __init__(self, model: Model[GivenProcess], cond: dict[str, Any]) -> None:
        super().__init__()
        self.model, self.cond = model, cond
        self.process = model.process

    @property
    def nfe(self) -> int:
        return self.model.nfe

    @property
    def at_pure_noise(self) -> bool:
        return self.model.at_pure_noise

    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        prediction: Prediction = self.model(x, t, **self.cond, **cond)
        return prediction


class Watched(Model[GivenProcess]):
    """A model that remembers its last prediction.

    Attributes:
        last: the prediction; None before the first.
    """

    def __init__(self, model: Model[GivenProcess]) -> None:
        super().__init__()
        self.model, self.process = model, model.process
        self.last: Prediction | None = None

    @property
    def nfe(self) -> int:
        return self.model.nfe

    @property
    def at_pure_noise(self) -> bool:
        return self.model.at_pure_noise

    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        prediction: Prediction = self.model(x, t, **cond)
        self.last = prediction
        return prediction


class NoiseModel(Model[GivenProcess]):
    """Network + process + what the network is fed and what it outputs.

    Args:
        network: evaluated as ``network(x, labels, **cond)``.
        process: the forward process.
        time: what the network is told about time.
        output: what its output means.
        variance: what as many channels again mean, which follow those of the output; None: there are none.
        evaluator: evaluates the network, in another precision or compiled; None: it is called.
    """

    def __init__(
        self,
        network: nn.Module,
        process: GivenProcess,
        time: TimeEncoding,
        output: Output,
        variance: VarianceOutput | None = None,
        evaluator: Evaluate | None = None,
    ) -> None:
        super().__init__()
        if output not in get_args(Output):
            raise ValueError(f"a network outputs one of {', '.join(get_args(Output))}; got {output!r}.")
        if output == "previous" and not isinstance(process, DiscreteDiffusion):
            raise ValueError("a network that outputs the previous state needs a chain: training.sde='ddpm'.")
        if output in VELOCITIES and time.path_rates(process.time([process.t_end])) is None:
            raise ValueError(
                f"a network that outputs the {output} needs an SDE with a Gaussian marginal, such as "
                f"training.sde='flow'; {type(process).__name__} is none."
            )
        if output != "score" and not isinstance(process, GaussianProcess):
            raise ValueError(
                f"{type(process).__name__} has no Gaussian marginal, so a network of it outputs the score: "
                f"set model.output='score', not {output!r}."
            )
        check_variance_output(variance)
        self.network, self.process, self.time = network, process, time
        self.output, self.variance, self.evaluator = output, variance, evaluator

    @property
    def nfe(self) -> int:
        return self._evaluations

    def log_variance(self, t: Tensor) -> Tensor | None:
        """What the network has learned of the logarithm of its own error at times (B,): (B,); None: nothing."""
        found: Tensor | None = self.network.log_variance(self.time.labels(t).float())  # type: ignore[operator]
        return found

    @property
    def at_pure_noise(self) -> bool:
        return self.output in ("x0", "v", *VELOCITIES)

    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        self._evaluations += 1
        return self.evaluate(x, t, **cond)

    def evaluate(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        """The evaluation without its count: a function of tensors, which compiles to one graph."""
        # At least float32: half precision cannot hold the index of a long chain.
        labels = tabulated_time(self._labels, torch.promote_types(x.dtype, torch.float32), t)
        output, variance = split_output(self._output(x, labels, cond), x, self.variance)
        kind: View
        if self.output == "previous":
            assert isinstance(self.process, DiscreteDiffusion)  # checked when the model is built
            output, kind = self.process.data_of_previous(output, x, t), "x0"
        elif self.output == "velocity" or self.output == "reversed_velocity":
            w = coefficients(x, VELOCITIES[self.output], self.time, t)
            output, kind = torch.addcmul(w.of_x * x, w.of_velocity, output), "v"
        else:
            kind = self.output
        level = coefficients(x, self.time.marginal, t)
        if level is None:
            return Prediction(x, None, None, output, kind, variance)
        of_v = coefficients(x, self._of_velocity, t) if kind == "v" else None
        return Prediction(x, level.alpha, level.sigma, output, kind, variance, of_v=of_v)

    def _output(self, x: Tensor, labels: Tensor, cond: dict[str, Any]) -> Tensor:
        if self.evaluator is None:
            return evaluated(self.network, x, labels, **cond)
        return self.evaluator(x, labels, **cond)

    def _labels(self, dtype: torch.dtype, t: Tensor) -> Tensor:
        return self.time.labels(t).to(dtype)

    def _of_velocity(self, t: Tensor) -> OfVelocity:
        level = self.time.marginal(t)
        assert level is not None, (
            "a network of v has a process with a marginal, checked when the model is built"
        )
        return OfVelocity.at(level.alpha, level.sigma)
