"""A measurement of what a differentiable map makes of a sample, such as the image that latents are decoded to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from samplers.operators.base import Linearised, LinearOperator, Measurement, Self


@final
@dataclass(frozen=True, eq=False)
class Through(Measurement):
    """y = A f(z): not linear in z, and at each z the nearer to A f(z0) + A F (z - z0) the nearer z is to z0, F = df/dz.

    Methods that differentiate take the second, as latent DPS does (Rout et al. 2023, eq. 6, without their gluing term).

    Args:
        operator: A, of f(z).
        f: of samples (B, ...), each by itself.
    """

    operator: LinearOperator
    f: Callable[[Tensor], Tensor]

    def apply(self, x: Tensor) -> Tensor:
        return self.operator.apply(self.f(x))

    def restrict(self, y: Tensor) -> Tensor:
        return self.operator.restrict(y)

    def map(self, change: Callable[[Tensor], Tensor]) -> Through:
        return replace(self, operator=self.operator.map(change))

    def at(self, x: Tensor) -> Linearised:
        """As of ``Measurement``.

        Raises:
            ValueError: f passes no gradient on.
        """
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            image = self.f(point)
        if not image.requires_grad:
            raise ValueError(
                "a measurement of decoded latents takes a decoder that passes gradients on, and this one does not: "
                "leave torch.no_grad out of it, or take control.method='replacement' or 'repaint' with a mask."
            )
        tangent = Tangent(self.operator, self.f, point, image)
        return Linearised(self.operator.apply(image.detach()), tangent)


@final
@dataclass(frozen=True, eq=False)
class Tangent(LinearOperator):
    """A F, F = df/dz at a point.

    Args:
        operator: A.
        f: the map.
        point: z, with a gradient.
        image: f(z), by which the gradient is passed back.
    """

    operator: LinearOperator
    f: Callable[[Tensor], Tensor]
    point: Tensor
    image: Tensor
    cg_iterations = 10
    """Each takes a product with F and one with its transpose; F has as many singular values as z has entries."""

    def apply(self, x: Tensor) -> Tensor:
        back, weights = self._pullback
        (along,) = torch.autograd.grad(back, weights, x.to(back.dtype), retain_graph=True)
        return self.operator.apply(along)

    @functools.cached_property
    def _pullback(self) -> tuple[Tensor, Tensor]:
        """F^T w, which is linear in w, and w: its derivative with respect to w takes v to F v.

        torch's forward mode compiles decompositions, with a warning, at first use.
        """
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # of the others there is no second derivative
            point = self.point.detach().requires_grad_()
            image = self.f(point)
            weights = torch.zeros_like(image, requires_grad=True)
            (back,) = torch.autograd.grad(image, point, weights, create_graph=True)
        return back, weights

    def adjoint(self, y: Tensor) -> Tensor:
        back = self.operator.adjoint(y).to(self.image.dtype)
        (found,) = torch.autograd.grad(self.image, self.point, back, retain_graph=True)
        return found

    def restrict(self, y: Tensor) -> Tensor:
        return self.operator.restrict(y)

    def map(self: Self, change: Callable[[Tensor], Tensor]) -> Self:
        raise NotImplementedError("it is of one evaluation, where it is made")
