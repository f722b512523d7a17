"""How a network is told the time and the class."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.convolution import linear


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
        (B, dim), at least float32: labels reach 1000, where half precision has a spacing of 0.5.

    Raises:
        ValueError: with the endpoint, fewer than four dimensions, for which there is no lowest frequency.
    """
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


@final
class ClassEmbedding(nn.Module):
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


def plus_class(time: Tensor | None, classes: ClassEmbedding | None, y: Tensor | None) -> Tensor | None:
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


def check_classes(classes: ClassEmbedding | None, y: Tensor) -> None:
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
