"""The forward pass of the published networks, beside diffusers' of the same weights and the machine's convolutions.

    python -m benchmarks.network --save
    python -m benchmarks.network --networks ddpm --precisions float32 --no-compile
    python -m benchmarks.network --device cuda --batch 64 --save

Each network has random weights; diffusers' ``UNet2DModel`` loads what we export of them, where it has such a network.
The rows of a precision follow one another in rounds, so that a machine that slows down slows all alike, and the median
is shown. The peak is that of the network's own convolutions, each alone, with inputs and weights in that precision and
the channels last, in the same rounds: the sum of their operations over the sum of their seconds. Utilisation is the
operations of the whole network, as each takes them, over its seconds, divided by that. Autocast casts weights of
float32 in every call; "weights cast" has them in the precision. Compiled is plain ``torch.compile``. Freed memory is
kept, as in the program.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import prod
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import described, machine, write_section
from models.base import Network
from models.checkpoints.diffusers import export_diffusers
from models.networks.adm import ADM
from models.networks.ddpm import DDPM
from models.networks.ncsnpp import NCSNpp
from run_lib.computing.allocation import keep_freed_memory
from run_lib.computing.numerics import Arithmetic
from run_lib.computing.placement import Placement

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """A network at its published size.

    Attributes:
        make: builds it.
        size: of its images.
        batch: how many of them, unless another number is asked for.
    """

    make: Callable[[], Network]
    size: int
    batch: int


CASES = {
    "ddpm": Case(lambda: DDPM(attention_after_every_up_block=True), 32, 16),
    "ncsnpp": Case(NCSNpp, 32, 16),
    "adm": Case(
        lambda: ADM(
            image_size=256, out_channels=6, channels=256, channel_mult=(1, 1, 2, 2, 4, 4), num_res_blocks=2,
            attention_resolutions=(32, 16, 8), num_head_channels=64, resblock_updown=True,
        ),
        256, 1,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Convolution:
    """Of tensors of random numbers that lie in memory as the network's do."""

    arguments: tuple[Any, ...]
    flop: float

    def __call__(self) -> None:
        torch.ops.aten.convolution(*self.arguments)


_TRANSPOSED = 3
"""Its place among the settings of ``aten.convolution``, after stride, padding and dilation."""


class Convolutions(TorchDispatchMode):
    """How often each convolution is called, by its shapes and settings."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            x, weight, bias, *settings = args
            plain = [tuple(s) if isinstance(s, list) else s for s in settings]
            key = (tuple(x.shape), tuple(weight.shape), bias is not None, *plain)
            self.calls[key] += 1
        return func(*args, **(kwargs or {}))

    def alone(self, dtype: torch.dtype, device: torch.device) -> Iterator[tuple[Convolution, int]]:
        """Each with the number of its calls."""

        def drawn(shape: tuple[int, ...]) -> Tensor:
            return torch.randn(shape, device=device).to(dtype).contiguous(memory_format=torch.channels_last)

        for (shape, weight, biased, *settings), count in self.calls.items():
            transposed = settings[_TRANSPOSED]
            bias = torch.zeros(weight[transposed], dtype=dtype, device=device) if biased else None
            arguments = (drawn(shape), drawn(weight), bias, *settings)
            with torch.no_grad():
                out = torch.ops.aten.convolution(*arguments)
            met = prod(shape) if transposed else out.numel()
            yield Convolution(arguments, 2.0 * met * prod(weight[1:])), count


@dataclass
class Row:
    """A network that is timed.

    Attributes:
        name: in the table.
        module: evaluated as ``module(inputs, labels)``.
        inputs, labels: of the batch.
        autocast: the precision of its products; that of its weights, if they are cast.
        flop: of a call.
        seconds: of each call.
    """

    name: str
    module: nn.Module | Callable[..., Any]
    inputs: Tensor
    labels: Tensor
    autocast: torch.dtype
    flop: int = 0
    seconds: list[float] = field(default_factory=list)

    @torch.no_grad()
    def call(self) -> None:
        lower = self.autocast is not self.inputs.dtype
        with torch.autocast(self.inputs.device.type, self.autocast) if lower else contextlib.nullcontext():
            self.module(self.inputs, self.labels)

    def counted(self) -> Row:
        with FlopCounterMode(display=False) as counter:
            self.call()
        return replace(self, flop=counter.get_total_flops())

    def compiled(self) -> Row:
        return replace(self, name=f"{self.name}, compiled", module=torch.compile(self.module), seconds=[])


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    begun = now()
    call()
    return now() - begun


def initialised(network: Network) -> Network:
    """With random numbers where a fresh network has zeros."""
    for parameter in network.parameters():
        if parameter.ndim > 1 and not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.02)
    return network.eval()


def diffusers_of(network: Network, size: int) -> nn.Module | None:
    """Diffusers' network of the same weights; None where it has none, or is not installed."""
    if importlib.util.find_spec("diffusers") is None:
        return None
    from diffusers import UNet2DModel

    with tempfile.TemporaryDirectory() as folder:
        try:
            export_diffusers(network, folder, sample_size=size)
        except ValueError:
            return None
        theirs: nn.Module = UNet2DModel.from_pretrained(folder).eval()
    return theirs


def rows_of(case: Case, x: Tensor, labels: Tensor, dtype: torch.dtype, compiled: bool) -> list[Row]:
    torch.manual_seed(0)
    network = initialised(case.make())
    theirs = diffusers_of(network, case.size)
    arithmetic = Arithmetic(str(dtype).removeprefix("torch."))
    network.to(x.device).to(memory_format=Placement(x.device, sampling=arithmetic).memory_format)
    rows = [Row("ours", network, x, labels, dtype)]
    if dtype is not torch.float32:
        rows.append(Row("ours, weights cast", deepcopy(network).to(dtype), x.to(dtype), labels, dtype))
    if theirs is not None:
        rows.append(Row("diffusers", theirs.to(x.device), x, labels, dtype))
    rows = [row.counted() for row in rows]
    return rows + ([row.compiled() for row in rows] if compiled else [])


def table(
    name: str, batch: int | None, rounds: int, precision: str, device: str, compiled: bool
) -> list[str]:
    """The rows of a network in a precision."""
    case, dtype, place = CASES[name], PRECISIONS[precision], torch.device(device)
    images = batch or case.batch
    x = torch.randn(images, 3, case.size, case.size, device=place)
    rows = rows_of(case, x, torch.full((images,), 10.0, device=place), dtype, compiled)
    with Convolutions() as seen, torch.no_grad():
        rows[0].module(x, rows[0].labels)
    alone = list(seen.alone(dtype, place))
    for row in rows:  # compilation, and the first use of each kernel
        row.call()
        row.call()
    peaks = []
    for _ in range(rounds):
        for row in rows:
            row.seconds.append(seconds_of(row.call, place))
        spent = sum(count * seconds_of(convolution, place) for convolution, count in alone)
        peaks.append(sum(count * convolution.flop for convolution, count in alone) / spent)
    peak, ours = median(peaks), median(rows[0].seconds)
    head = f"{name}, {images} x 3 x {case.size} x {case.size}"
    lines = [f"| {head} | {precision} | the convolutions alone | | {peak / 1e9:.0f} | 100 % | |"]
    for row in rows:
        seconds = median(row.seconds)
        rate = row.flop / seconds
        lines.append(
            f"| {head} | {precision} | {row.name} | {seconds:.3f} | {rate / 1e9:.0f} | {100 * rate / peak:.0f} % | "
            f"{seconds / ours:.2f} |"
        )
    return lines


def can_compile(device: str) -> bool:
    """Whether there is what ``torch.compile`` needs."""
    return device != "cpu" or any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(CASES))
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="images of a call; as published networks are measured else")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true", help="eager rows alone")
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    given = parser.parse_args()
    keep_freed_memory()
    compiled = not given.no_compile and can_compile(given.device)
    peers = ["diffusers"] if importlib.util.find_spec("diffusers") else []
    lines = [
        "## Forward pass of the networks",
        "",
        *described(__doc__),
        f"{given.rounds} rounds{'' if compiled else '; nothing was compiled'}. {machine(*peers)}",
        "",
        "| network | precision | what | seconds | GFLOP/s | utilisation | seconds, over ours |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name in given.networks.split(","):
        for precision in given.precisions.split(","):
            rows = table(name, given.batch, given.rounds, precision, given.device, compiled)
            print("\n".join(rows), flush=True)  # the next ones may take minutes
            lines += rows
    if given.save:
        write_section(f"network {given.device.partition(':')[0]}", lines)


if __name__ == "__main__":
    main()
