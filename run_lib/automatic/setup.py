"""The setup of a training of the ADM U-Net: size, batch and learning rate, from the images and the machine.

docs/auto.md has the table and its sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from run_lib.automatic.choice import Choice
from run_lib.automatic.machine import GIB, Machine
from run_lib.automatic.memory import Step, UNet, usable


@dataclass(frozen=True)
class Published:
    """How a published model was trained; or what lies between two of them.

    Attributes:
        width: channels of the first level.
        blocks: residual blocks of each level.
        batch: images of a step.
        lr: learning rate at that batch.
        images: seen in the whole training, in millions.
        source: which model.
    """

    width: int
    blocks: int
    batch: int
    lr: float
    images: int
    source: str


@dataclass(frozen=True)
class Row:
    """What is chosen from, for images of up to some size.

    Attributes:
        multiples: of the first width, level by level.
        dropout: of widths from ``NARROWEST``.
        models: the widest first.
        cpu_batch: images of a step on a CPU.
    """

    multiples: tuple[float, ...]
    dropout: float
    models: tuple[Published, ...]
    cpu_batch: int


ROWS = {
    32: Row((1, 2, 2, 2), 0.1, (Published(128, 2, 128, 2e-4, 100, "DDPM, CIFAR-10"),), 128),
    64: Row(
        (1, 2, 3, 4),
        0.1,
        (
            Published(192, 3, 256, 1e-4, 200, "ADM, ImageNet 64, at a smaller batch"),
            Published(128, 2, 256, 2e-4, 200, "EDM, FFHQ 64"),
        ),
        64,
    ),
    96: Row(
        (1, 2, 3, 4),
        0.1,
        (
            Published(192, 2, 256, 1e-4, 200, "between ADM's of 64 and of 128 pixels"),
            Published(128, 2, 256, 1e-4, 200, "between ADM's of 64 and of 128 pixels"),
        ),
        64,
    ),
    128: Row(
        (1, 1, 2, 3, 4),
        0.0,
        (
            Published(256, 2, 256, 1e-4, 200, "ADM, ImageNet 128"),
            Published(192, 2, 256, 1e-4, 200, "ADM, ImageNet 128, narrower"),
            Published(128, 2, 256, 1e-4, 200, "ADM, ImageNet 128, half as wide"),
        ),
        64,
    ),
    256: Row(
        (1, 1, 2, 2, 4, 4),
        0.0,
        (
            Published(256, 2, 256, 1e-4, 128, "ADM, LSUN 256"),
            Published(192, 2, 256, 1e-4, 128, "ADM, LSUN 256, narrower"),
            Published(128, 2, 64, 2e-5, 100, "DDPM, CelebA-HQ and LSUN 256"),
        ),
        16,
    ),
}
"""By the size of the images in pixels."""
NARROWEST = 128
"""Of the published widths. Narrower networks have rates that grow as their width shrinks (Yang et al. 2021)."""
NARROW = (64, 32)
"""Widths for machines that no published model fits, or whose processors would take years with it."""
SERVER = 32 * GIB
"""Main memory from which a machine without a GPU is taken for one with many processors."""
HALVINGS = 2
"""So often, at most, a batch is halved to fit, before a narrower network is taken."""
ATTENDS = range(8, 17)
"""Resolutions with attention, as improved-diffusion has them; the middle attends at any."""
LEAST_SNAPSHOT, LEAST_CHECKPOINT = 100, 20
"""Steps between pictures of samples, and between checkpoints, at least: in a short training they would take longer."""
CPU_IMAGES = 1
"""Seen in a whole training on a CPU, in millions."""

FIELDS = (
    "model.nf",
    "model.ch_mult",
    "model.num_res_blocks",
    "model.attn_resolutions",
    "model.use_checkpoint",
    "training.batch_size",
    "training.microbatch",
    "model.dropout",
    "optim.lr",
    "optim.warmup",
    "training.n_iters",
    "training.snapshot_freq",
    "training.snapshot_freq_for_preemption",
    "model.ema_rate",
)
"""What can be chosen, in the order in which it is printed."""


@dataclass
class _Choosing:
    """Fields that are given, and those that are chosen one after the other."""

    given: Mapping[str, Any]
    found: dict[str, Choice] = field(default_factory=dict)

    def __call__(self, path: str, reason: str, value: Any) -> Any:
        """The value of a field: the given one, else this, with its reason."""
        if path in self.given:
            return self.given[path]
        self.found[path] = Choice(value, reason)
        return value


def choose_setup(
    size: tuple[int, int],
    machine: Machine,
    given: Mapping[str, Any],
    *,
    half: bool = False,
    accumulate: int = 1,
    averages: int = 1,
    shard: bool = False,
) -> dict[str, Choice]:
    """The fields of ``FIELDS`` that are not given, each with a reason; the given ones hold, and the others go with
    them.

    Args:
        size: height and width of the images.
        machine: of each process.
        given: values of the other fields of ``FIELDS``.
        half: whether the network is evaluated in half precision.
        accumulate: batches of a step of the optimiser.
        averages: of the weights.
        shard: whether each process keeps a part of weights, averages and moments.
    """
    on_gpu, row = machine.kind == "cuda", row_of(size)
    chosen = _Choosing(given)
    multiples = chosen(
        "model.ch_mult",
        "levels of published models of this size, as many as the size halves",
        _halved(row.multiples, size),
    )
    attention = chosen(
        "model.attn_resolutions",
        "at 16 to 8 pixels, as improved-diffusion",
        tuple(size[1] >> n for n in range(len(multiples)) if size[1] >> n in ATTENDS),
    )

    def step(width: int, checkpointed: bool) -> Step:
        blocks = given.get("model.num_res_blocks", model_of(row, width).blocks)
        network = UNet(
            size, width, multiples or (1,), blocks, attention
        )  # no levels are refused when it is built
        shards = machine.processes if shard else 1
        return Step(network, checkpointed, half, averages, shards)

    def batch(width: int) -> int:
        wanted = model_of(row, width).batch if on_gpu else row.cpu_batch
        size: int = given.get("training.batch_size", max(1, wanted // accumulate))
        return size

    widths = (given["model.nf"],) if "model.nf" in given else _widths(row, machine)
    width, again, at_a_time = _fitting(_candidates(widths, given), step, batch, machine, given)
    used, share = step(width, again), math.ceil(at_a_time / machine.processes)
    needed = used.bytes(share, machine.kind)
    needs = f"{share} images at a time need {needed / GIB:.1f} GiB of {usable(machine) / GIB:.1f}"
    needs += ", which may be too little" if needed > usable(machine) else ""
    model = model_of(row, width)
    source = f"as {model.source}"
    fits = f"the widest of {', '.join(map(str, widths))} whose step fits in at most {2**HALVINGS} parts"
    chosen("model.nf", fits if on_gpu else "small, for a CPU", width)
    chosen("model.num_res_blocks", source, model.blocks)
    why = "blocks are computed twice: the step fits no other way" if again else "the step fits without"
    chosen("model.use_checkpoint", why, again)
    images = chosen("training.batch_size", source if on_gpu else "small, for a CPU", batch(width))
    micro = at_a_time if at_a_time < images else 0
    chosen("training.microbatch", needs if micro else f"the whole batch: {needs}", micro)
    narrow = width < NARROWEST
    chosen("model.dropout", "none in a narrow network" if narrow else source, 0.0 if narrow else row.dropout)
    chosen(
        "optim.lr",
        f"{model.lr:g} at {model.batch} images ({source}), times the root of {images * accumulate}/{model.batch}"
        + (f", times {NARROWEST}/{width} for the width" if narrow else ""),
        _rounded(model.lr * math.sqrt(images * accumulate / model.batch) * max(1, NARROWEST / width)),
    )
    millions = model.images if on_gpu else CPU_IMAGES
    steps = chosen(
        "training.n_iters",
        f"{millions} million images" + ("" if on_gpu else ", for a CPU"),
        max(1000, round(millions * 1000 / (images * accumulate)) * 1000),
    )
    chosen("optim.warmup", "5000 steps as in DDPM, at most a twentieth of all", min(5000, steps // 20))
    chosen("training.snapshot_freq", *_every(steps, 20, LEAST_SNAPSHOT, "twenty snapshots"))
    lost = "an interruption costs at most a two-hundredth of all steps"
    chosen("training.snapshot_freq_for_preemption", *_every(steps, 200, LEAST_CHECKPOINT, lost))
    chosen(
        "model.ema_rate",
        "0.9999 as in DDPM, at most a tenth of all steps",
        round(1 - max(1e-4, min(0.5, 10 / steps)), 6),
    )
    return {path: chosen.found[path] for path in FIELDS if path in chosen.found}


def _every(steps: int, times: int, least: int, why: str) -> tuple[str, int]:
    """Steps between things that are done so many times, or less often in a short training, and the reason."""
    apart = max(1, steps // times)
    return (why, apart) if apart >= least else ("rarer in a short training", max(1, min(least, steps)))


def row_of(size: tuple[int, int]) -> Row:
    """The row of the least size that is as large as the images; of larger ones the last."""
    return ROWS[next((s for s in ROWS if s >= max(size)), max(ROWS))]


def model_of(row: Row, width: int) -> Published:
    """The widest model that is no wider; the narrowest, of narrower networks."""
    return next((model for model in row.models if model.width <= width), row.models[-1])


def _halved(multiples: tuple[float, ...], size: tuple[int, int]) -> tuple[float, ...]:
    """As many of the levels as both sides halve."""
    levels = next(n for n in range(len(multiples), 0, -1) if all(side % 2 ** (n - 1) == 0 for side in size))
    return multiples[:levels]


def _widths(row: Row, machine: Machine) -> tuple[int, ...]:
    """To choose from, the widest first."""
    if machine.kind == "cuda":
        return (*(model.width for model in row.models), *NARROW)
    return NARROW if machine.memory >= SERVER else NARROW[-1:]


def _candidates(widths: tuple[int, ...], given: Mapping[str, Any]) -> list[tuple[int, bool]]:
    """Widths, each without activation checkpointing and with it, the best first.

    Checkpointing makes a step a third longer: for a network that is wider than some published one it is no bargain.
    """
    if "model.use_checkpoint" in given:
        return [(width, bool(given["model.use_checkpoint"])) for width in widths]
    last = widths[-1]
    return [(width, again) for width in widths for again in (False, True)
            if not again or width <= NARROWEST or width == last]  # fmt: skip


def _fitting(
    candidates: list[tuple[int, bool]],
    step: Callable[[int, bool], Step],
    batch: Callable[[int], int],
    machine: Machine,
    given: Mapping[str, Any],
) -> tuple[int, bool, int]:
    """Width, checkpointing, and the images that all processes evaluate at a time.

    Where no step fits in few parts, the last candidate's falls into as many as it takes.
    """

    def largest(width: int, checkpointed: bool, halvings: int | None) -> int | None:
        sizes, needs = _parts(batch(width), machine.processes, given), step(width, checkpointed)
        shares = [(size, math.ceil(size / machine.processes)) for size in sizes[:halvings]]
        return next((size for size, share in shares if needs.fits(machine, share)), None)

    for width, checkpointed in candidates:
        if (size := largest(width, checkpointed, HALVINGS + 1)) is not None:
            return width, checkpointed, size
    width, checkpointed = candidates[-1]
    least = _parts(batch(width), machine.processes, given)[-1]
    return width, checkpointed, largest(width, checkpointed, None) or least


def _parts(batch: int, processes: int, given: Mapping[str, Any]) -> list[int]:
    """Images at a time: the batch, its half, and so on to one for each process; or what is given."""
    if "training.microbatch" in given:
        return [given["training.microbatch"] or batch]
    found = [batch]
    while found[-1] > processes:
        found.append(math.ceil(found[-1] / 2))
    return found


def _rounded(rate: float) -> float:
    """To two digits."""
    return float(f"{rate:.1e}")
