"""Every benchmark in turn, each by its one command, with the seconds that it took.

    python -m benchmarks.all                  # hours
    python -m benchmarks.all --only noise cost sampling
    python -m benchmarks.all --list           # what each needs, and whether it is here

Those whose peers or data are absent are left out, and it is said what they need; the peers are those of the extra,
`pip install -e ".[benchmarks,metrics]"`. Results go where each benchmark writes them. `benchmarks/data.py large`, which
needs a disk of its own, is not among them. Exits with 1 if one has failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Benchmark:
    """A command, and what it needs.

    Attributes:
        module: in this package.
        arguments: of the command.
        needs: packages without which it cannot run.
        folder: of data without which it cannot run; None: it needs none.
    """

    module: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    folder: Path | None = None

    def missing(self) -> list[str]:
        """What it needs and is not here."""
        absent = [f"the package {name}" for name in self.needs if importlib.util.find_spec(name) is None]
        if self.folder is not None and not self.folder.is_dir():
            absent.append(f"the folder {self.folder} (--fashion_mnist)")
        return absent

    def command(self) -> list[str]:
        return [sys.executable, "-m", f"benchmarks.{self.module}", *self.arguments]


def benchmarks(fashion_mnist: Path) -> list[Benchmark]:
    """All, the quick ones first."""
    return [
        Benchmark("startup"),
        Benchmark("noise", ("--save",)),
        Benchmark("loop_overhead"),
        Benchmark("divergence"),
        Benchmark("cost", ("--save",)),
        Benchmark("data", ("share", "--root", str(fashion_mnist)), folder=fashion_mnist),
        Benchmark("network", ("--save",), ("diffusers",)),
        Benchmark("likelihood", ("--save",)),
        Benchmark("posteriors"),
        Benchmark("sampling", ("--save",), ("diffusers",)),
        Benchmark("training", ("--save",), ("diffusers",)),
        Benchmark("sampler_accuracy", (), ("diffusers", "k_diffusion", "azula")),
        Benchmark("auto_accuracy", (), ("diffusers", "k_diffusion", "azula")),
        Benchmark("stochastic_accuracy", (), ("diffusers", "k_diffusion", "azula")),
        Benchmark("scoring", ("--save",), ("torch_fidelity",)),
        Benchmark("digits_quality"),
        Benchmark(
            "todays_models",
            ("digits", "fashion_mnist", "--root", str(fashion_mnist), "--save"),
            folder=fashion_mnist,
        ),
        Benchmark(
            "few_steps",
            ("--root", str(fashion_mnist), "--save"),
            ("diffusers", "k_diffusion"),
            fashion_mnist,
        ),
        Benchmark(
            "time_to_quality",
            ("--root", str(fashion_mnist), "--save"),
            ("diffusers", "smalldiffusion"),
            fashion_mnist,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="names of benchmarks")
    parser.add_argument("--list", action="store_true", help="run none")
    parser.add_argument("--fashion_mnist", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    args = parser.parse_args()
    known = benchmarks(args.fashion_mnist)
    names = [one.module for one in known]
    if unknown := sorted(set(args.only or ()) - set(names)):
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(names)}.")
    failed = False
    for one in known:
        if args.only and one.module not in args.only:
            continue
        missing = one.missing()
        if missing or args.list:
            print(f"{one.module:20} {'needs ' + ', '.join(missing) if missing else 'can run'}", flush=True)
            continue
        begun = time.perf_counter()
        status = subprocess.run(one.command(), cwd=ROOT, check=False).returncode
        failed |= status != 0
        said = f", exit status {status}" if status else ""
        print(f"{one.module:20} {time.perf_counter() - begun:.0f} s{said}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
