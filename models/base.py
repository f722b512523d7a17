"""What a network is: a map of a state and its labels to an output of the same spatial shape."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from sde_lib.registry import Registry

OutputKind: TypeAlias = Literal["eps", "x0", "score", "v"]
TimeLabel: TypeAlias = Literal["time", "sigma", "level"]


class Network(nn.Module, abc.ABC):
    """A network that a process can be modelled with.

    It knows nothing of processes or parameterisations: ``NoiseModel`` decides which labels it is
    given and what its output means. Constructors take plain keyword arguments.

    Attributes:
        output_kind: what the output means (eps, x0, score, v) whatever the process; None: as the
            process's convention has it.
        time_label: the labels that the network wants: the ``time`` itself, the noise level ``sigma``, or the
            index of the ``level``, counted from the noisiest; None: those of the process's convention.
        classifies: whether the output is a logit for each class (B, K), not an image.
        sees_low_res: whether it needs the conditioning ``low_res``, an image of any size.
        log_labels: whether it takes the logarithm of its labels, which then must be positive.
        null_label: whether the class label after the last always stands for no class; otherwise it does so
            only in a network that was trained with label dropout.
        spare_label: whether the class label after the last means no class, and is not counted among its classes.
        has_weights: whether it has weights to learn; an exact score has its settings alone.
        has_log_variance: whether it has a layer that learns its own error, ``log_variance``.
        keeps_nothing: whether an evaluation keeps no tensor for a later one and takes no derivative of its own, so that
            it may be made in inference mode.
        unit_weights: whether ``constrain`` brings the weights to a magnitude that they are defined to have, so that
            there is nothing for weight decay to do.
    """

    output_kind: ClassVar[OutputKind | None] = None
    time_label: ClassVar[TimeLabel | None] = None
    classifies: ClassVar[bool] = False
    sees_low_res: ClassVar[bool] = False
    log_labels: bool = False
    null_label: ClassVar[bool] = False
    spare_label: ClassVar[bool] = False
    has_weights: ClassVar[bool] = True
    has_log_variance: bool = False
    keeps_nothing: bool = False
    unit_weights: bool = False

    @abc.abstractmethod
    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        """Evaluate the network.

        Args:
            x: states, (B, C, ...).
            labels: what the network is told about time, (B,), floating point.
            cond: conditioning, each of leading size B (``y`` is the class label, int64).

        Returns:
            (B, C', ...): as many channels as the parameterisation needs, spatial size of ``x``.
        """

    if TYPE_CHECKING:
        # nn.Module's returns Any.
        def __call__(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor: ...

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a sample shape (C, ...) that the network cannot process.

        Raises:
            ValueError: with the offending size and the sizes that are allowed.
        """

    def constrain(self) -> None:
        """Bring weights back to where the network defines them to lie; training does so before each step."""

    def log_variance(self, labels: Tensor) -> Tensor | None:
        """The logarithm of the variance of its own error that the network has learned at labels, (B,); None: none."""
        return None

    def apart(self) -> Iterable[nn.Parameter]:
        """Weights that are read outside of ``forward``, which each of several processes must have whole."""
        return ()

    def train_log_variance(self) -> None:
        """Have the layer of ``log_variance`` trained, which is not unless an objective asks for it."""


class Evaluate(Protocol):
    """Evaluates a network, as calling it does."""

    def __call__(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor: ...


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters and buffers lie; the CPU for one that has none."""
    held = next(itertools.chain[Tensor](module.parameters(), module.buffers()), None)
    return torch.device("cpu") if held is None else held.device


register_model: Registry[Network] = Registry("model")
