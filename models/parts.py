"""Tensors of which each of several processes holds a part (``torch.distributed.tensor.DTensor``), beside whole ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_shared(tensor: Tensor) -> bool:
    """Whether each process holds a part of it."""
    return hasattr(tensor, "device_mesh")


def own_part(tensor: Tensor) -> Tensor:
    """The part that this process holds, in the tensor's own memory and possibly empty; all of a whole tensor."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def shared_like(whole: Tensor, held: Tensor) -> Tensor:
    """A tensor that every process has whole, shared out among them as ``held`` is; itself, if that one is whole.

    Args:
        whole: of any shape and type, the same in every process.
        held: on the device that the result goes to, where it is shared.
    """
    mesh: Any = getattr(held, "device_mesh", None)
    if mesh is None:
        return whole
    from torch.distributed.tensor import distribute_tensor

    placements: Any = held.placements  # type: ignore[attr-defined]
    return distribute_tensor(whole.to(held.device), mesh, placements, src_data_rank=None)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, gathered from the processes that share it: each of them must ask for it."""
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered
