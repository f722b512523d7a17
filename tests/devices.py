"""Devices to run on without a GPU: one that knows shapes alone, and one with values that refuses those of the CPU.

``shapes_on_cuda`` is torch's ``FakeTensorMode``: tensors say that they are on ``cuda``, hold no numbers, and fail where
one is read, as a step that waits for the device would. Its gradients need a GPU, or a build of torch without CUDA.

``elsewhere`` gives values, hence anything may be asked of it: gradients, solvers that choose their steps, likelihoods.
Its tensors are on ``ELSEWHERE``. As on a GPU, an operation on tensors of two devices is refused, unless those of the
CPU are single numbers, indices, or what is copied.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda")
ELSEWHERE = torch.device("meta")
"""The name of the other device: one that torch knows on every machine, and for which it starts nothing."""
aten = torch.ops.aten


class Elsewhere(torch.Tensor):
    """A tensor of the other device. Its values lie in ``held``, on the CPU, where no operation finds them."""

    held: Tensor
    is_meta = False  # there are values

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=ELSEWHERE,
        )
        made.held = held
        return made

    def __repr__(self) -> str:
        return f"Elsewhere({self.held})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """In a file it is the plain tensor, as those of a GPU are when they are loaded to the CPU."""
        return self.held.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return memo.setdefault(id(self), self.detach().clone().requires_grad_(self.requires_grad))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Operations that are given a device and no tensor of it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


_COPIES = {aten.copy_.default, aten._to_copy.default}
_INDEXES = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """One operation: refused, or run on what its tensors hold, with a result where it belongs."""
    there: dict[int, Elsewhere] = {}
    here: list[Tensor] = []

    def held(given: Any) -> Any:
        if isinstance(given, Elsewhere):
            there[id(given.held)] = given
            return given.held
        if isinstance(given, Tensor):
            here.append(given)
        elif isinstance(given, list | tuple):
            return [held(part) for part in given]
        return given

    inner = [held(given) for given in args]
    if func in _INDEXES and isinstance(args[0], Elsewhere):
        here = [t for t in here if t.is_meta or any(t is part for part in args[2:3])]
    named = {name: held(given) for name, given in kwargs.items()}
    if there and func not in _COPIES and any(t.ndim or t.is_meta for t in here):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, found those of two")
    if func is aten._fused_sdp_choice.default:
        return 0  # plain arithmetic: fused attention has an operation of its own for each device
    device = kwargs.get("device")
    wanted = bool(there) if device is None else torch.device(device) == ELSEWHERE
    if device is not None and wanted:
        named["device"] = torch.device("cpu")
    if func is aten.copy_.default:
        wanted = isinstance(args[0], Elsewhere)
    found = func(*inner, **named)
    # An operation in place gives back what it was given.
    return _wrapped(found, there) if wanted else found


def _wrapped(found: Any, known: dict[int, Elsewhere]) -> Any:
    if isinstance(found, Tensor):
        return known[id(found)] if id(found) in known else Elsewhere(found)
    if isinstance(found, list | tuple):
        return type(found)(_wrapped(part, known) for part in found)
    return found


class _FromData(TorchFunctionMode):
    """Tensors of numbers in Python: of a list of indices, or made on the other device, where torch would lose them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and given.get("device") is not None:
            device = given.pop("device")
            return func(*args, **given).to(device)
        if func is Tensor.__getitem__ and isinstance(args[1], list):
            return args[0][torch.tensor(args[1])]
        if func is Tensor.__setitem__ and isinstance(args[1], list):
            args[0][torch.tensor(args[1])] = args[2]
            return None
        if func is torch.Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **given}).to(args[0].device)
        return func(*args, **given)


@contextlib.contextmanager
def elsewhere() -> Iterator[torch.device]:
    """The other device, which exists within the block."""
    fused = mock.patch("torch.optim.adam._device_dtype_check_for_fused")  # its list of devices is torch's own
    with fused, _FromData(), _Everywhere():
        yield ELSEWHERE


@contextlib.contextmanager
def shapes_on_cuda() -> Iterator[torch.device]:
    """A GPU of shapes, which exists within the block; real tensors that enter it become shapes."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield CUDA
