"""Random numbers: `Noise.normal` beside `torch.randn`, and a query of a Brownian path.

    python -m benchmarks.noise --save
    python -m benchmarks.noise --device cuda --save

Each round draws all, several times over; ratios are medians over rounds. `torch.randn` draws from one stream of the
process, `Noise` from one of each sample.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.report import described, interleaved, machine, ratio, write_section
from sde_lib import Noise
from sde_lib.brownian import BrownianPath

NAME = "Noise"
SHAPES = ((1, 3, 32, 32), (16, 3, 32, 32), (128, 3, 32, 32), (8, 3, 256, 256))
RANDN = "torch.randn"


def rows(shape: tuple[int, ...], device: str, rounds: int, repeats: int) -> list[str]:
    """Of the table, for one shape."""
    noise = Noise(0, range(shape[0]), device)
    path, u = BrownianPath(noise, shape), torch.full((shape[0],), 0.3, dtype=torch.float64, device=device)
    draws: dict[str, Callable[[], object]] = {
        RANDN: lambda: torch.randn(shape, device=device),
        "Noise.normal": lambda: noise.normal(shape),
        "Brownian query": lambda: path(u),
    }

    def repeated(draw: Callable[[], object]) -> Callable[[], object]:
        return lambda: [draw() for _ in range(repeats)]

    runs = {name: repeated(draw) for name, draw in draws.items()}
    interleaved(runs, 1, device)  # what is made at first use
    seconds = interleaved(runs, rounds, device)
    return [
        f"| {' x '.join(map(str, shape))} | {name} | {1e6 * median(taken) / repeats:.0f} | "
        f"{ratio(taken, seconds[RANDN]):.2f} |"
        for name, taken in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    args = parser.parse_args()
    lines = [
        f"## {NAME}",
        "",
        *described(__doc__),
        f"{args.rounds} rounds of {args.repeats} on {args.device}. {machine()}",
        "",
        "| shape | what | microseconds | over torch.randn |",
        "|---|---|---|---|",
    ]
    for shape in SHAPES:
        lines += rows(shape, args.device, args.rounds, args.repeats)
    print("\n".join(lines))
    if args.save:
        write_section(NAME, lines)


if __name__ == "__main__":
    main()
