"""How the cost of sampling grows: with the batch, with the steps, and its memory with the number of samples.

    python -m benchmarks.cost --save
    python -m benchmarks.cost --batches 1 2 --steps 2 4 --samples 2 4 --rounds 1     # to try it

The network is a small DDPM, the sampler DDIM. The exponent is the slope of log seconds over log size by least squares,
of medians over interleaved rounds: 1 is linear. Memory is the largest resident set of a process that samples so many
images in batches of one size and keeps none; its slope over samples is 0 where nothing of a batch stays, and at least
the 3.1 kB of an image where something does.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.report import described, interleaved, machine, write_section
from models.networks.ddpm import DDPM
from models.prediction.conventions import convention
from samplers import DDIM, PCSampler
from sde_lib import VPSDE, Noise

NAME = "Growth of the cost"


def sampler(steps: int) -> PCSampler:
    network = DDPM(
        image_size=16, channels=64, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(8,)
    )
    return PCSampler.of(convention(VPSDE()).model(network.eval()), DDIM(), num_steps=steps)


def slope(sizes: ArrayLike, values: ArrayLike) -> float:
    """That of values over sizes, by least squares."""
    found, _ = np.polyfit(sizes, values, 1)
    return float(found)


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of log seconds over log size."""
    return slope(np.log(sizes), np.log(seconds))


def drawn(run: PCSampler, batch: int) -> Callable[[], object]:
    return lambda: run.sample((batch, 3, 16, 16), Noise(0, range(batch)))


def growth(runs: dict[int, Callable[[], object]], what: str, rounds: int) -> str:
    """A row of the table."""
    named = {str(size): run for size, run in runs.items()}
    next(iter(named.values()))()
    seconds = [median(taken) for taken in interleaved(named, rounds).values()]
    shown = ", ".join(f"{size}: {taken:.2f}" for size, taken in zip(runs, seconds, strict=True))
    return f"| seconds over {what} | {shown} | {exponent(list(runs), seconds):.3f} |"


def peak(samples: int, batch: int) -> float:
    """Megabytes of a process that draws so many samples, in batches."""
    command = [sys.executable, "-m", "benchmarks.cost", "--one", str(samples), "--batch", str(batch)]
    told = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    ).stdout
    return float(told)


def draw_all(samples: int, batch: int) -> None:
    """Draw so many samples, and print the peak of memory in megabytes."""
    run = sampler(2)
    for _ in range(samples // batch):
        run.sample((batch, 3, 16, 16), Noise(0, range(batch)))
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes on Linux
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--steps", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--samples", type=int, nargs="+", default=[64, 512, 4096])
    parser.add_argument("--batch", type=int, default=8, help="of the runs over steps and samples")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    args = parser.parse_args()
    if args.one is not None:
        draw_all(args.one, args.batch)
        return
    few = sampler(min(args.steps))
    memory = {count: peak(count, min(args.batch, count)) for count in args.samples}
    lines = [
        f"## {NAME}",
        "",
        *described(__doc__),
        f"Batches at {min(args.steps)} steps, steps and samples at batch {args.batch}, {args.rounds} rounds. "
        f"{machine()}",
        "",
        "| what | values | exponent, slope |",
        "|---|---|---|",
        growth({size: drawn(few, size) for size in args.batches}, "batch", args.rounds),
        growth({size: drawn(sampler(size), args.batch) for size in args.steps}, "steps", args.rounds),
        f"| megabytes over samples | {', '.join(f'{size}: {taken:.1f}' for size, taken in memory.items())} | "
        f"{1e3 * slope(list(memory), list(memory.values())):.2f} kB a sample |",
    ]
    print("\n".join(lines))
    if args.save:
        write_section(NAME, lines)


if __name__ == "__main__":
    main()
