"""The numeric policy: how networks are evaluated in each kind of work. Nothing else sets a precision.

Parameters, states, losses, schedules and sums are in float32 or float64 whatever the policy. It says in what a network
computes between its inputs and its output, which are the work's own.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.blocks.derived import derived_once
from models.prediction.inference import evaluated
from run_lib.computing.compiling import Compiled

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
"""Of a network's products: 23, 10, 7 and 10 bits of mantissa; float16 has 5 bits of exponent, the others 8."""

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_TITLES = {"tf32": "TF32"}


@dataclass(frozen=True)
class Compilation:
    """What is compiled in one kind of work.

    Attributes:
        sizes: of the batches that compiled networks evaluate; empty: none does.
        steps: whether, for these sizes, the steps of samplers and the velocities of flows are compiled as well, each
            with the evaluations in it.
    """

    sizes: tuple[int, ...] = ()
    steps: bool = False

    def holds(self, size: int) -> bool:
        """Whether networks evaluate a batch compiled; it depends on the batch's size alone."""
        return any(size % one == 0 for one in self.sizes)

    def __str__(self) -> str:
        if not self.sizes:
            return ""
        return ", compiled with its steps" if self.steps else ", compiled"


AS_THEY_ARE = Compilation()
"""Nothing is compiled."""


@dataclass(frozen=True)
class Arithmetic:
    """How networks are evaluated in one kind of work.

    Attributes:
        precision: of products of matrices and of convolutions; TF32 is float32 on devices that have no such mode.
        deterministic: only kernels that give the same bits each time, or an error where an operation has none.
        compiled: what is compiled.
        constant: whether weights stay as they are within the work, so that they are rounded to 16 bits once in it, and
            what layers derive of them is computed once.
    """

    precision: Precision = "float32"
    deterministic: bool = False
    compiled: Compilation = AS_THEY_ARE
    constant: bool = False

    @property
    def half(self) -> torch.dtype | None:
        """The type of 16 bits that networks are evaluated in; None: their parameters' own."""
        return _HALF.get(self.precision)

    def on(self, device: torch.device) -> str:
        """What a report says: the precision and the device."""
        precision = "float32" if self.precision == "tf32" and device.type != "cuda" else self.precision
        kernels = ", deterministic" if self.deterministic else ""
        return f"{_TITLES.get(precision, precision)} on {device}{kernels}{self.compiled}"

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Within the block, networks are evaluated so, and everything on the device by the kernels that this allows."""
        matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, convolutions.allow_tf32
        strict = torch.are_deterministic_algorithms_enabled()
        token = _USED.set(self)
        matmul.allow_tf32 = convolutions.allow_tf32 = self.precision == "tf32"
        if self.deterministic:
            # Read when a GPU's first product is taken.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(self.deterministic)
        try:
            with contextlib.ExitStack() as once:
                if self.constant:
                    once.enter_context(derived_once())
                if self.constant and self.half is not None:
                    once.enter_context(rounded_once())
                yield
        finally:
            _USED.reset(token)
            matmul.allow_tf32, convolutions.allow_tf32 = before
            torch.use_deterministic_algorithms(strict)


FLOAT32 = Arithmetic()
_USED: ContextVar[Arithmetic] = ContextVar("arithmetic", default=FLOAT32)


@contextlib.contextmanager
def rounded_once() -> Iterator[None]:
    """Within the block, autocast keeps what it rounds of weights, which must not change.

    It forgets them as the outermost of its contexts ends, whether that is enabled or not; and it does not ask to which
    type it has rounded them.
    """
    torch.clear_autocast_cache()
    with torch.autocast("cpu", enabled=False):
        try:
            yield
        finally:
            torch.clear_autocast_cache()


def in_float32() -> contextlib.AbstractContextManager[None]:
    """Within the block, nothing is rounded to less, whatever the policy of the work around it."""
    return replace(_USED.get(), precision="float32", compiled=AS_THEY_ARE).used()


def compiles_steps(size: int) -> bool:
    """Whether the arithmetic in use has steps with batches of this size compiled."""
    compiled = _USED.get().compiled
    return compiled.steps and compiled.holds(size)


class Evaluator:
    """Evaluates a network as the arithmetic in use says; input and output have the work's own precision.

    Args:
        network: called as ``network(x, labels, **cond)``.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    @functools.cached_property
    def _compiled(self) -> Compiled:
        return Compiled(self._network)

    def __call__(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        used = _USED.get()
        # Within a step that is being compiled the network is a part of it.
        apart = used.compiled.holds(len(x)) and not torch.compiler.is_compiling()
        if used.half is None:
            return self._compiled(x, labels, **cond) if apart else evaluated(self._network, x, labels, **cond)
        # Not in inference mode, in which autocast keeps nothing of what it rounds.
        with torch.autocast(x.device.type, used.half):
            output: Tensor = (self._compiled if apart else self._network)(x, labels, **cond)
        return output.to(x.dtype)
