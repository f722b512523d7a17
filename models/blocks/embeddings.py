"""How a network is told the time and the class."""

from __future__ import annotations

import abc
import math
from collections import OrderedDict
from typing import Literal, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.convolution import linear
from sde_lib.timetable import tabulated


def sinusoidal(
    labels: Tensor,
    dim: int,
    *,
    max_period: float = 10000.0,
    cosines_first: bool = False,
    endpoint: bool = True,
) -> Tensor:
    """Sinusoidal embedding of labels: ``sin(w_i l), cos(w_i l)`` at geometric frequencies w_i.

    ``w_i = max_period^(-i / (n - 1))`` for i < n = dim // 2 (Ho et al. 2020, after Vaswani et al. 2017,
    section 3.5); without ``endpoint`` the exponent is -i / n (Nichol & Dhariwal 2021, their code).

    Args:
        labels: (B,), any real numbers.
        dim: size of the embedding; an odd one ends with a zero.
        max_period: the inverse of the lowest frequency.
        cosines_first: ADM's order; DDPM has the sines first.
        endpoint: whether the lowest frequency 1 / max_period is among the w_i, as in DDPM.

    Returns:
        (B, dim), at least float32: labels reach 1000, where half precision has a spacing of 0.5. Of a run's labels
        those of all its steps are computed at once (``sde_lib.timetable``).

    Raises:
        ValueError: with the endpoint, fewer than four dimensions, for which there is no lowest frequency.
    """
    return tabulated(_waves, dim, max_period, cosines_first, endpoint, labels)


def _waves(dim: int, max_period: float, cosines_first: bool, endpoint: bool, labels: Tensor) -> Tensor:
    half = dim // 2
    if endpoint and half < 2:
        raise ValueError(f"a sinusoidal embedding needs at least 4 dimensions, not {dim}; raise channels.")
    dtype = torch.promote_types(labels.dtype, torch.float32)
    index = torch.arange(half, dtype=dtype, device=labels.device)
    # Each in its reference's order of operations, on which the last bit depends.
    rate = math.log(max_period)
    exponents = index * (-rate / (half - 1)) if endpoint else -rate * index / half
    phases = labels.to(dtype)[:, None] * exponents.exp()
    waves = (phases.cos(), phases.sin()) if cosines_first else (phases.sin(), phases.cos())
    return F.pad(torch.cat(waves, dim=-1), (0, dim % 2))


def level_at(sigmas: Tensor, labels: Tensor) -> Tensor:
    """``sigmas[label]``, and between two labels the level on the straight line between their logarithms. (B,)"""
    below = labels.detach().long()
    above = (below + 1).clamp(max=len(sigmas) - 1)
    return sigmas[below] * (sigmas[above] / sigmas[below]) ** (labels - below).to(sigmas.dtype)


@final
class GaussianFourier(nn.Module):
    """Random Fourier features, sines and cosines at fixed random frequencies: (B,) -> (B, 2 size).

    ``[sin(2 pi W u), cos(2 pi W u)]`` with W ~ N(0, scale^2), drawn once and never trained, yet part of
    the weights (Tancik et al. 2020, eq. 5).
    """

    def __init__(self, size: int, *, scale: float = 16.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size) * scale, requires_grad=False)

    def forward(self, u: Tensor) -> Tensor:
        phases = u[:, None] * self.weight[None, :] * 2 * math.pi
        return torch.cat([phases.sin(), phases.cos()], dim=-1)


@final
class TimeEmbedding(nn.Sequential):
    """A multi-layer perceptron from features of the time (B, in) to the embedding (B, out) of the blocks.

    Args:
        layers: in running order, by the names that they have among the network's weights. Each family of
            published weights has names of its own.
    """

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__(OrderedDict(layers))

    def forward(self, features: Tensor) -> Tensor:
        # The features keep float32 whatever the network computes in.
        h = features.to(next(self.parameters()).dtype)
        for layer in self:
            h = layer(h)
        return h


Told: TypeAlias = Literal["class", "number", "vector"]
"""What a network is told as ``y``: a class label (B,), a number (B,), or a vector of the embedding's size (B, E)."""


class Conditioning(nn.Module, abc.ABC):
    """What is added to the embedding of the time for a keyword ``y``."""

    @abc.abstractmethod
    def forward(self, y: Tensor | None) -> Tensor:
        """The embedding (B, E) of what is told.

        Raises:
            ValueError: nothing is.
        """

    @abc.abstractmethod
    def check(self, y: Tensor) -> None:
        """Refuse what cannot be told; call it before a run, it waits for the device."""


@final
class NumberEmbedding(Conditioning):
    """Numbers as the time is told: their sinusoids through two layers of their own (diffusers' ``timestep``).

    Args:
        features: of the sinusoids.
        out_features: E.
        cosines_first, endpoint: as of ``sinusoidal``.
    """

    def __init__(self, features: int, out_features: int, *, cosines_first: bool, endpoint: bool) -> None:
        super().__init__()
        self.features, self.cosines_first, self.endpoint = features, cosines_first, endpoint
        self.dense_in = linear(features, out_features, init_scale=1.0)
        self.dense_out = linear(out_features, out_features, init_scale=1.0)

    def forward(self, y: Tensor | None) -> Tensor:
        if y is None:
            raise ValueError("this network is told a number, and got none; pass y=, one for each sample.")
        waves = sinusoidal(y.float(), self.features, cosines_first=self.cosines_first, endpoint=self.endpoint)
        told: Tensor = self.dense_out(F.silu(self.dense_in(waves.to(self.dense_in.weight.dtype))))
        return told

    def check(self, y: Tensor) -> None:
        if y.ndim != 1 or not bool(y.isfinite().all()):
            raise ValueError(f"numbers of shape {tuple(y.shape)}: one finite number a sample is told.")


@final
class VectorEmbedding(Conditioning):
    """Vectors (B, E), added as they are (diffusers' ``identity``).

    Args:
        size: E.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, y: Tensor | None) -> Tensor:
        if y is None or y.shape[1:] != (self.size,):
            given = "none" if y is None else f"those of shape {tuple(y.shape)}"
            raise ValueError(
                f"this network is told a vector of {self.size} for each sample, and got {given}; pass y=."
            )
        return y

    def check(self, y: Tensor) -> None:
        self(y)


def conditioning(
    told: Told,
    num_classes: int | None,
    features: int,
    out_features: int,
    *,
    cosines_first: bool,
    endpoint: bool,
) -> Conditioning | None:
    """What a network is told as ``y``; None: nothing.

    Args:
        told: what ``y`` is.
        num_classes: labels that it may be; None: nothing is told, unless it is a number or a vector.
        features: of the embedding of the time.
        out_features: E.
        cosines_first, endpoint: of the sinusoids of the time.
    """
    if told == "number":
        return NumberEmbedding(features, out_features, cosines_first=cosines_first, endpoint=endpoint)
    if told == "vector":
        return VectorEmbedding(out_features)
    if told != "class":
        raise ValueError(f"unknown told {told!r}; allowed: class, number, vector.")
    return None if num_classes is None else ClassEmbedding(num_classes, out_features)


@final
class ClassEmbedding(Conditioning):
    """One learned vector per class, added to the time embedding (Nichol & Dhariwal 2021, section 4).

    The values of ``y`` are not looked at in ``forward``, which would wait for the device at every
    step: whoever starts a run calls ``check`` once.
    """

    def __init__(self, num_classes: int, out_features: int) -> None:
        super().__init__()
        self.table = nn.Embedding(num_classes, out_features)

    def forward(self, y: Tensor | None) -> Tensor:
        if y is None:
            raise _without_labels(self.table.num_embeddings)
        embedding: Tensor = self.table(y)
        return embedding

    def check(self, y: Tensor) -> None:
        """Refuse labels that are not classes (waits for the device: call it before a run, not in it).

        Raises:
            ValueError: naming the range given and the range allowed.
        """
        low, high = int(y.min()), int(y.max())
        if y.is_floating_point() or low < 0 or high >= self.table.num_embeddings:
            raise ValueError(
                f"class labels of type {y.dtype} from {low} to {high}; "
                f"allowed are integers from 0 to {self.table.num_embeddings - 1}."
            )


def plus_class(time: Tensor | None, classes: Conditioning | None, y: Tensor | None) -> Tensor | None:
    """The embedding (B, E) of time and class: their sum, or the one that there is.

    Raises:
        ValueError: classes without labels, or labels without classes.
    """
    if classes is not None:
        told: Tensor = classes(y)
        return told if time is None else time + told
    if y is not None:
        raise _without_classes()
    return time


def check_classes(classes: Conditioning | None, y: Tensor) -> None:
    """Refuse labels that are not classes of the network; see ``ClassEmbedding.check``."""
    if classes is None:
        raise _without_classes()
    classes.check(y)


def _without_labels(classes: int) -> ValueError:
    return ValueError(f"this network is class-conditional ({classes} classes) and got no labels; pass y=.")


def _without_classes() -> ValueError:
    return ValueError("this network knows no classes (num_classes is None), but got labels y.")


def augmentation_embedding(num_labels: int, features: int) -> nn.Linear | None:
    """A linear map of what was done to an image to the features of its time (Karras et al. 2022, appendix F.2), which
    begins at zero; None: the network is told nothing of it."""
    if not num_labels:
        return None
    layer = nn.Linear(num_labels, features, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def plus_augmentation(features: Tensor, layer: nn.Linear | None, augment: Tensor | None) -> Tensor:
    """The features of the time (B, F), with those of augmentation labels (B, L); without labels nothing was done.

    Raises:
        ValueError: labels for a network that knows none, or of another number.
    """
    if augment is None:
        return features
    if layer is None or augment.shape != (len(features), layer.in_features):
        known = "none (augment_labels is 0)" if layer is None else f"{layer.in_features} a sample"
        raise ValueError(f"augmentation labels of shape {tuple(augment.shape)}: this network knows {known}.")
    told: Tensor = layer(augment.to(layer.weight.dtype))
    return features + told


def class_column(weight: Tensor, y: Tensor) -> Tensor:
    """W e_y for a matrix W (features, K) and unit vectors e_y: (B,) -> (B, features).

    The label K stands for no class, and gives zeros.
    """
    return F.embedding(y, F.pad(weight.T, (0, 0, 0, 1)))


@final
class ClassFeatures(nn.Module):
    """A linear map of the class, sqrt(K) W e_y + b, to the features of the time (Karras et al. 2022, their code).

    The label K stands for no class: b alone. Like ``ClassEmbedding`` it does not look at the values.

    Args:
        num_classes: K.
        features: size of the features.
    """

    def __init__(self, num_classes: int, features: int) -> None:
        super().__init__()
        self.linear = linear(num_classes, features, init_scale=1.0)

    def forward(self, y: Tensor | None) -> Tensor:
        if y is None:
            raise _without_labels(self.linear.in_features)
        column = class_column(self.linear.weight, y)
        return torch.add(self.linear.bias, column, alpha=math.sqrt(self.linear.in_features))
