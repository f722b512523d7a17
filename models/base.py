"""What a network is: a map of a state and its labels to an output of the same spatial shape."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from sde_lib.registry import Registry


class Network(nn.Module, abc.ABC):
    """A network that a process can be modelled with.

    It knows nothing of processes or parameterisations: ``NoiseModel`` decides which labels it is
    given and what its output means. Constructors take plain keyword arguments.

    Attributes:
        output_kind: what the output means (eps, x0, score, v) whatever the process; None: as the
            process's convention has it.
        time_label: the time encoding that the network wants: ``time`` itself, or the ``level``, counted
            from the noisiest; None: likewise.
        classifies: the output is a logit for each class (B, K), not an image.
        sees_low_res: it needs the conditioning ``low_res``, an image of any size.
        log_labels: whether it takes the logarithm of its labels, which then must be positive.
        null_label: the class label after the last always stands for none; otherwise it does in a network
            that was trained with label dropout.
    """

    output_kind: ClassVar[str | None] = None
    time_label: ClassVar[str | None] = None
    classifies: ClassVar[bool] = False
    sees_low_res: ClassVar[bool] = False
    log_labels: bool = False
    null_label: ClassVar[bool] = False

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

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a sample shape (C, ...) that the network cannot process.

        Raises:
            ValueError: with the offending size and the sizes that are allowed.
        """


register_model: Registry[Network] = Registry("model")
