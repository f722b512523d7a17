"""What a network costs: parameters, arithmetic and activation memory, by group of layers.

Everything is measured on PyTorch's meta device: shapes flow through the network, no number is
computed and no memory is taken, so a 1024-pixel network is described in seconds on any machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from models.base import Network

OTHER = "(other)"


@final
@dataclass(frozen=True)
class LayerGroup:
    """The cost of one group of layers.

    Attributes:
        name: the submodule's name in the network; ``(other)`` for work outside any submodule.
        parameters: scalars.
        flop: of one forward pass of one sample; a multiplication and an addition are two.
        activation_bytes: what one sample's forward pass keeps for the backward pass.
    """

    name: str
    parameters: int
    flop: int
    activation_bytes: int


@final
@dataclass(frozen=True)
class Description:
    """The cost of a network, by group, for one sample of a shape (C, ...)."""

    network: str
    shape: tuple[int, ...]
    rows: tuple[LayerGroup, ...]

    @property
    def parameters(self) -> int:
        """Of all groups of layers together."""
        return sum(row.parameters for row in self.rows)

    @property
    def gflop(self) -> float:
        """Per image (or other sample) and forward pass."""
        return sum(row.flop for row in self.rows) / 1e9

    @property
    def activation_mib(self) -> float:
        """Per image; a sampler, which has no backward pass, needs far less."""
        return sum(row.activation_bytes for row in self.rows) / 2**20

    def table(self) -> str:
        """A text table with a row per group and their total."""
        total = LayerGroup(
            "total",
            self.parameters,
            sum(row.flop for row in self.rows),
            sum(row.activation_bytes for row in self.rows),
        )
        width = max(len(row.name) for row in (*self.rows, total, LayerGroup("layer group", 0, 0, 0)))
        rule = "-" * (width + 49)

        def line(row: LayerGroup) -> str:
            flop, memory = row.flop / 1e9, row.activation_bytes / 2**20
            return f"{row.name:<{width}}  {row.parameters:>14,}  {flop:>12,.4f}  {memory:>17,.3f}"

        head = f"{'layer group':<{width}}  {'parameters':>14}  {'GFLOP/image':>12}  {'activations (MiB)':>17}"
        title = f"{self.network}, one sample of shape {tuple(self.shape)}"
        return "\n".join([title, rule, head, rule, *map(line, self.rows), rule, line(total)])


def count_parameters(module: nn.Module) -> int:
    """Number of scalars in the parameters, each shared one once; buffers are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())


def describe(network: Network, shape: Sequence[int], **cond: Tensor) -> Description:
    """Measure the cost of one evaluation of a network on one sample.

    FLOPs are those of PyTorch's counter: matrix products, convolutions and attention, in which nearly
    all the work is; element-wise operations count nothing. The activation memory is that of the
    tensors autograd saves (parameters excepted, shared storage once): an estimate of a training step's
    memory per sample, exact but for temporaries and for what the device's attention kernel keeps.

    Args:
        network: any network, on any device (meta included); its weights are not touched.
        shape: of a sample, (C, ...).
        cond: the conditioning the network needs, each with leading size 1.

    Raises:
        ValueError: the network cannot take this shape.
    """
    network.check_shape(shape)
    names = list(_group_names(network))
    tensors = (*network.named_parameters(), *network.named_buffers())
    state = {name: _on_meta(tensor) for name, tensor in tensors}
    dtype = next((p.dtype for p in network.parameters()), torch.float32)
    x, labels = torch.empty(1, *shape, dtype=dtype, device="meta"), torch.empty(1, dtype=dtype, device="meta")
    conditions = {name: tensor.to("meta") for name, tensor in cond.items()}

    meter = _Meter(own=state.values())
    handles = meter.watch(network, names)
    try:
        with torch.enable_grad(), saved_tensors_hooks(meter.keep, lambda tensor: tensor), meter.counter:
            functional_call(network, state, (x, labels), conditions)
    finally:
        for handle in handles:
            handle.remove()
    meter.settle()

    parameters: defaultdict[str, int] = defaultdict(int)
    for name, parameter in network.named_parameters():
        parameters[_group_of(name, names)] += parameter.numel()
    groups = (*names, OTHER)
    rows = (LayerGroup(name, parameters[name], meter.flop[name], meter.saved[name]) for name in groups)
    shown = tuple(row for row in rows if row.parameters or row.flop or row.activation_bytes)
    return Description(type(network).__name__, tuple(shape), shown)


def example_conditions(network: Network, num_classes: int, shape: Sequence[int]) -> dict[str, Tensor]:
    """The conditioning of one sample that a network needs to be described.

    Args:
        network: any network.
        num_classes: that it is told; 0: none.
        shape: of a sample, (C, ...).
    """
    cond: dict[str, Tensor] = {}
    if num_classes and not network.classifies:
        cond["y"] = torch.zeros(1, dtype=torch.int64)
    if network.sees_low_res:
        # Of any size: the network enlarges it to that of the state first.
        cond["low_res"] = torch.zeros(1, *shape)
    return cond


@final
class _Meter:
    """Books arithmetic and saved tensors on the group of layers that is running."""

    def __init__(self, own: Iterable[Tensor]) -> None:
        # Imported here: it loads Triton, a tenth of a second of every start.
        from torch.utils.flop_counter import FlopCounterMode

        self.counter = FlopCounterMode(display=False)
        self.flop: defaultdict[str, int] = defaultdict(int)
        self.saved: defaultdict[str, int] = defaultdict(int)
        self._running = [OTHER]
        self._booked = 0
        # by storage; the tensors are held so that no storage is freed and its address used again
        self._known = {tensor.untyped_storage()._cdata: tensor for tensor in own}

    def watch(self, network: nn.Module, groups: Sequence[str]) -> list[RemovableHandle]:
        """Follow which group runs. A module that several groups share runs for whoever calls it."""
        homes: defaultdict[nn.Module, set[str]] = defaultdict(set)
        for name, module in network.named_modules(remove_duplicate=False):
            homes[module].add(_group_of(name, groups))
        handles = []
        for module, found in homes.items():
            if len(found) == 1 and (group := next(iter(found))) != OTHER:
                handles.append(module.register_forward_pre_hook(partial(self._enter, group)))
                handles.append(module.register_forward_hook(self._leave))
        return handles

    def _enter(self, group: str, module: nn.Module, args: object) -> None:
        self.settle()
        self._running.append(group)

    def _leave(self, module: nn.Module, args: object, output: object) -> None:
        self.settle()
        self._running.pop()

    def settle(self) -> None:
        """Book the arithmetic done since the last change of group."""
        total = self.counter.get_total_flops()
        self.flop[self._running[-1]] += total - self._booked
        self._booked = total

    def keep(self, tensor: Tensor) -> Tensor:
        """Book a tensor that autograd saves, once per storage."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known[storage._cdata] = tensor
            self.saved[self._running[-1]] += storage.nbytes()
        return tensor


def _on_meta(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)


def _group_names(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Names of the direct submodules, lists opened; a lone submodule that holds everything is entered."""
    children = [(prefix + name, child) for name, child in module.named_children()]
    holders = [(name, child) for name, child in children if count_parameters(child)]
    own = next(module.parameters(recurse=False), None)
    if len(holders) == 1 and own is None and list(holders[0][1].children()):
        yield from _group_names(holders[0][1], f"{holders[0][0]}.")
        return
    for name, child in children:
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):  # containers without a forward of their own
            yield from (f"{name}.{part}" for part, _ in child.named_children())
        else:
            yield name


def _group_of(name: str, groups: Sequence[str]) -> str:
    """The group whose name is a prefix of ``name``."""
    return next((group for group in groups if f"{name}.".startswith(f"{group}.")), OTHER)
