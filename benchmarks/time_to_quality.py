"""Quality after a given time of training on Fashion-MNIST: this program, diffusers, smalldiffusion.

    apt-get install dataset-fashion-mnist
    pip install diffusers smalldiffusion
    python -m benchmarks.time_to_quality --root /usr/share/datasets/fashion-mnist --seconds 480 --seeds 3 --save

Each trains for the same seconds of the same cores, one after another, seed by seed: the program by its command line
and `configs/ddpm/fashion_mnist.py`; diffusers' `UNet2DModel` of as many FLOPs an image by the recipe of its
unconditional training script (AdamW, cosine with warm-up, EMA with power 3/4), smalldiffusion's `Unet` by that of its
example for these data. The number of steps that the seconds allow is measured first, so that schedules end. Both peers
are trained with several learning rates with the first seed, their recipe's among them, and go on with the best; each is
sampled by the best of its samplers, as the first seed shows. Samples have 20 evaluations.

Scores are in the features of `benchmarks/fashion_features.py`: the Fréchet distance to the test images, and precision
and recall among as many of them. Intervals are Student's t at 95 %; the difference is paired by seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.fashion_features import Classifier, accuracy, classifier, images
from benchmarks.fashion_peers import PEERS, TIMED, WARM, Trained
from benchmarks.report import described, write_section
from run_lib.evaluation.metrics import Gaussian, frechet_distance, precision_recall
from run_lib.statistics import t_interval

ROOT = Path(__file__).parents[1]
CONFIG = "configs/ddpm/fashion_mnist.py"
OURS = "this program"
METRICS = ("Fréchet distance", "precision", "recall")


@dataclass(frozen=True)
class Scores:
    """Of one set of samples."""

    frechet: float
    precision: float
    recall: float

    @property
    def values(self) -> tuple[float, float, float]:
        return self.frechet, self.precision, self.recall


@dataclass(frozen=True)
class Judge:
    """Scores images (N, 1, 28, 28), uint8, against test images."""

    network: Classifier
    real: np.ndarray

    def score(self, pixels: Tensor) -> Scores:
        fake = self.network.of(pixels)
        distance = frechet_distance(Gaussian.fit(self.real), Gaussian.fit(fake))
        found = precision_recall(self.real[: len(fake)], fake, dimensions=fake.shape[1])
        return Scores(distance, found.precision.value, found.recall.value)


def ours(root: Path, seconds: float, seed: int, folder: Path, settings: dict[str, Any]) -> Trained:
    """The program's own command line; the seconds count the steps alone, as with the peers."""

    def command(mode: str, workdir: Path, **further: Any) -> float:
        flags = {
            "data.dataset": "idx",
            "data.root": root,
            "seed": seed,
            "device": "cpu",
            **settings,
            **further,
        }
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "main.py", "--config", CONFIG, "--mode", mode, "--workdir", str(workdir),
             *(f"--config.{name}={value}" for name, value in flags.items())],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - begun

    few, more = (
        command("train", folder / f"speed{n}", **{"training.n_iters": n}) for n in (WARM, WARM + TIMED)
    )
    steps = int(seconds * TIMED / (more - few))
    taken = command("train", folder / "run", **{"training.n_iters": steps}) - few

    def sample(count: int) -> Tensor:
        command("sample", folder / "run", **{"sampling.num_samples": count, "training.n_iters": steps})
        pixels = np.load(folder / "run/samples/samples.npz")["arr_0"]
        return torch.from_numpy(pixels).reshape(count, 1, 28, 28)

    return Trained({"its configuration's": sample}, steps, taken)


@dataclass(frozen=True)
class Entry:
    """A set of samples that has been scored.

    Attributes:
        name: of the contender.
        seed: of training and samples.
        sampler: of its own.
        steps: of its training.
        seconds: that they took.
        scores: of ``METRICS``.
    """

    name: str
    seed: int
    sampler: str
    steps: int
    seconds: float
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Results:
    """Entries, kept in a file as they come."""

    file: Path
    entries: list[Entry]

    @classmethod
    def of(cls, file: Path) -> Results:
        held = json.loads(file.read_text()) if file.is_file() else []
        return cls(file, [Entry(**{**one, "scores": tuple(one["scores"])}) for one in held])

    def best(self, name: str) -> Entry:
        """The set of the least Fréchet distance with the first seed."""
        return min((e for e in self.entries if e.name == name and e.seed == 0), key=lambda e: e.scores[0])

    def add(
        self, name: str, seed: int, train: Callable[[], Trained], score: Callable[[Tensor], Scores], n: int
    ) -> None:
        """Train and score what is not there: with the first seed every sampler, then the best."""
        if any(e.name == name and e.seed == seed for e in self.entries):
            return
        trained = train()
        for sampler in trained.samplers if seed == 0 else [self.best(name).sampler]:
            scores = score(trained.samplers[sampler](n)).values
            self.entries.append(Entry(name, seed, sampler, trained.steps, trained.seconds, scores))
            print(self.entries[-1], flush=True)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps([asdict(e) for e in self.entries], indent=1))

    def rows(self) -> list[str]:
        """The table: each contender with its best sampler, and its distance less ours, by seeds."""
        own = {e.seed: e.scores[0] for e in self.entries if e.name == OURS}
        lines = []
        for name in dict.fromkeys(e.name for e in self.entries):
            best = self.best(name)
            sets = [e for e in self.entries if e.name == name and e.sampler == best.sampler]
            cells = [str(t_interval([e.scores[k] for e in sets], 0.95)) for k in range(len(METRICS))]
            less = "" if name == OURS else t_interval([e.scores[0] - own[e.seed] for e in sets], 0.95)
            lines.append(
                f"| {name} | {best.sampler} | {best.steps} | {best.seconds:.0f} | {len(sets)} | {' | '.join(cells)} "
                f"| {less} |"
            )
        return lines


def compare(arguments: argparse.Namespace, judge: Judge) -> Results:
    results = Results.of(arguments.folder / "scores.json")
    settings = dict(one.split("=", 1) for one in arguments.set)
    for seed in range(arguments.seeds):
        folder, how = arguments.folder / f"seed{seed}", (arguments.root, arguments.seconds, seed)
        results.add(OURS, seed, partial(ours, *how, folder, settings), judge.score, arguments.samples)
        for peer, (train, rates) in PEERS.items():
            names = {f"{peer}, {rate:g}": rate for rate in rates}
            if seed:
                best = min(names, key=lambda name: results.best(name).scores[0])
                names = {best: names[best]}
            for name, rate in names.items():
                one = partial(train, *how, rate, arguments.gflop)
                results.add(name, seed, one, judge.score, arguments.samples)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the four idx files")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--gflop", type=float, default=0.38, help="of the peers' networks, an image")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs/time_to_quality")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="of our configuration"
    )
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    arguments = parser.parse_args()
    network = classifier(arguments.root, arguments.folder / "classifier.pt")
    test, train = images(arguments.root, "test")[0], images(arguments.root, "train")[0]
    judge = Judge(network, network.of(test))
    floor = judge.score(train[: arguments.samples])
    results = compare(arguments, judge)
    lines = [
        "## Time to quality: Fashion-MNIST",
        "",
        *described(__doc__),
        f"{arguments.seconds:g} s on {os.cpu_count()} cores, torch {torch.__version__}, Python "
        f"{platform.python_version()}. {arguments.samples} samples a set. The classifier's test accuracy is "
        f"{accuracy(network, arguments.root):.3f}; as many training images have a distance of {floor.frechet:.2f}, "
        f"precision {floor.precision:.3f}, recall {floor.recall:.3f}.",
        "",
        f"| who, learning rate | sampler | steps | seconds | seeds | {' | '.join(METRICS)} | its distance less ours |",
        "|---|---|---|---|---|---|---|---|---|",
        *results.rows(),
    ]
    print("\n".join(lines))
    if arguments.save:
        write_section("time_to_quality", lines)


if __name__ == "__main__":
    main()
