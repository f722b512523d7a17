"""Quality after a given time of training on Fashion-MNIST: this program, diffusers, smalldiffusion.

    apt-get install dataset-fashion-mnist
    pip install diffusers smalldiffusion
    python -m benchmarks.time_to_quality --root /usr/share/datasets/fashion-mnist --seconds 480 --seeds 3 --save

Each trains for as many steps as its seconds allow, so that schedules end: the seconds of a step are measured first,
all contenders in turn, on a quiet machine, and kept (`speed.json`); the trainings themselves may then be interrupted,
or run beside other work, by several processes in one folder (`--only`). The program is used by its command line, with
`configs/ddpm/fashion_mnist.py`; diffusers' `UNet2DModel` of as many FLOPs an image by the recipe of its unconditional
training script (AdamW, cosine with warm-up, EMA with power 3/4), smalldiffusion's `Unet` by that of its example for
these data. Both peers are trained with several learning rates with the first seed, their recipe's among them, and go
on with the best; each is sampled by the best of its samplers, as 500 samples of the first seed show. Samples have 20
evaluations.

Scores are in the features of `benchmarks/fashion_features.py`: the Fréchet distance to the test images, and precision
and recall among as many of them. Intervals are Student's t at 95 %; the difference is paired by seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from benchmarks.fashion_features import Classifier, accuracy, classifier, images
from benchmarks.fashion_peers import PEERS, Contender, Sampler
from benchmarks.program import ROOT, Program
from benchmarks.report import described, machine, write_section
from run_lib.metrics.gaussians import frechet_distance
from run_lib.metrics.moments import Moments
from run_lib.metrics.precision_recall import precision_recall
from run_lib.statistics import t_interval

CONFIG = "configs/ddpm/fashion_mnist.py"
OURS = "this program"
TIMED, TURNS = 15, 3
"""Steps whose seconds are measured at a time, and how often."""
FEW = 500
"""Samples by which a peer's sampler is chosen."""
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
    """Scores images in levels against real ones.

    Attributes:
        features: images (N, C, H, W), uint8 -> features (N, D).
        real: those of real images, (M, D).
    """

    features: Callable[[Tensor], np.ndarray]
    real: np.ndarray

    @classmethod
    def of_fashion(cls, network: Classifier, root: Path) -> Judge:
        """Against the test images of Fashion-MNIST, in a classifier's features."""
        return cls(network.of, network.of(images(root, "test")[0]))

    def score(self, pixels: Tensor) -> Scores:
        fake = self.features(pixels)
        distance = frechet_distance(Moments.of(self.real), Moments.of(fake))
        found = precision_recall(self.real[: len(fake)], fake, dimensions=fake.shape[1])
        return Scores(distance, found.precision.value, found.recall.value)


def ours(root: Path, seed: int, folder: Path, settings: dict[str, Any]) -> Contender:
    """The program's own command line."""
    fixed = {"data.dataset": "idx", "data.root": root, "seed": seed, "device": "cpu"}
    program = Program(CONFIG, {**fixed, **settings})

    def train(steps: int) -> dict[str, Sampler]:
        length = {"training.n_iters": steps}
        program.run("train", folder, length)
        return {"its configuration's": lambda count: program.sample(folder, count, length)}

    return Contender(program.seconds, train)


class Timed(Protocol):
    """Something that can be trained for a while."""

    def seconds(self, count: int, /) -> float: ...


def speeds(file: Path, contenders: Mapping[str, Timed]) -> dict[str, float]:
    """Seconds of a step of each; those that the file does not have are measured in turn."""
    held: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
    taken: dict[str, list[float]] = {name: [] for name in contenders if name not in held}
    for turn in range(TURNS + 1 if taken else 0):
        for name in taken:
            seconds = contenders[name].seconds(TIMED) / TIMED
            if turn:  # the first one is for warming up
                taken[name].append(seconds)
    held |= {name: float(np.median(values)) for name, values in taken.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(held, indent=1))
    return {name: held[name] for name in contenders}


@dataclass(frozen=True)
class Entry:
    """A set of samples that has been scored.

    Attributes:
        name: of the contender.
        seed: of training and samples.
        sampler: of its own.
        steps: of its training.
        scores: of ``METRICS``.
    """

    name: str
    seed: int
    sampler: str
    steps: int
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Results:
    """Entries, each in a file of its own, so that several processes may fill the same folder."""

    folder: Path

    @property
    def entries(self) -> list[Entry]:
        """In the order of their names."""
        held = [json.loads(file.read_text()) for file in sorted(self.folder.glob("*.json"))]
        return [Entry(**{**one, "scores": tuple(one["scores"])}) for one in held]

    def first(self, name: str) -> Entry:
        """The set with the first seed, by the sampler that was chosen."""
        return next(e for e in self.entries if e.name == name and e.seed == 0)

    def add(
        self, name: str, seed: int, steps: int, one: Callable[[], Contender], judge: Judge, samples: int
    ) -> None:
        """Train and score what is not there: with the first seed, the sampler that does best with few samples."""
        if any(e.name == name and e.seed == seed for e in self.entries):
            return
        samplers = one().train(steps)
        if seed == 0 and len(samplers) > 1:
            few = {sampler: judge.score(draw(FEW)).frechet for sampler, draw in samplers.items()}
            print(name, few, flush=True)
            chosen = min(few, key=lambda sampler: few[sampler])
        else:
            chosen = self.first(name).sampler if seed else next(iter(samplers))
        scores = judge.score(samplers[chosen](samples)).values
        entry = Entry(name, seed, chosen, steps, scores)
        print(entry, flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name} {seed}.json").write_text(json.dumps(asdict(entry), indent=1))

    def rows(self) -> list[str]:
        """The table: each contender with its best sampler, and its distance less ours, by seeds."""
        entries = self.entries
        own = {e.seed: e.scores[0] for e in entries if e.name == OURS}
        lines = []
        for name in dict.fromkeys(e.name for e in entries):
            sets = [e for e in entries if e.name == name]
            first = self.first(name)
            cells = [str(t_interval([e.scores[k] for e in sets], 0.95)) for k in range(len(METRICS))]
            less = "" if name == OURS else t_interval([e.scores[0] - own[e.seed] for e in sets], 0.95)
            lines.append(
                f"| {name} | {first.sampler} | {first.steps} | {len(sets)} | {' | '.join(cells)} | {less} |"
            )
        return lines


def compare(arguments: argparse.Namespace, judge: Judge) -> Results:
    def own(seed: int) -> Contender:
        settings = dict(one.split("=", 1) for one in arguments.set)
        return ours(arguments.root, seed, arguments.folder / f"seed{seed}", settings)

    def other(peer: str, seed: int, rate: float) -> Contender:
        return PEERS[peer][0](arguments.root, seed, rate, arguments.gflop)

    contenders = {OURS: own(0)} | {peer: other(peer, 0, rates[0]) for peer, (_, rates) in PEERS.items()}
    steps = {
        name: int(arguments.seconds / seconds)
        for name, seconds in speeds(arguments.folder / "speed.json", contenders).items()
    }
    results = Results(arguments.folder / "scores")
    for seed in range(arguments.seeds):
        for peer in [name for name in PEERS if name in arguments.only]:
            rates = PEERS[peer][1]
            names = {f"{peer}, {rate:g}": rate for rate in rates}
            if seed:
                best = min(names, key=lambda name: results.first(name).scores[0])
                names = {best: names[best]}
            for name, rate in names.items():
                results.add(
                    name, seed, steps[peer], partial(other, peer, seed, rate), judge, arguments.samples
                )
        if OURS in arguments.only:
            results.add(OURS, seed, steps[OURS], partial(own, seed), judge, arguments.samples)
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
    parser.add_argument("--only", nargs="+", default=[*PEERS, OURS], help="contenders to train now")
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    arguments = parser.parse_args()
    network = classifier(arguments.root, arguments.folder / "classifier.pt")
    judge = Judge.of_fashion(network, arguments.root)
    floor = judge.score(images(arguments.root, "train")[0][: arguments.samples])
    results = compare(arguments, judge)
    taken = json.loads((arguments.folder / "speed.json").read_text())
    lines = [
        "## Time to quality: Fashion-MNIST",
        "",
        *described(__doc__),
        f"{arguments.seconds:g} s of training, {arguments.samples} samples a set. {machine('diffusers')} The "
        f"classifier's test accuracy is {accuracy(network, arguments.root):.3f}; as many training images have a "
        f"distance of {floor.frechet:.2f}, precision {floor.precision:.3f}, recall {floor.recall:.3f}. "
        f"Seconds of a step: {', '.join(f'{name} {seconds:.3f}' for name, seconds in taken.items())}.",
        "",
        f"| who, learning rate | sampler | steps | seeds | {' | '.join(METRICS)} | its distance less ours |",
        "|---|---|---|---|---|---|---|---|",
        *results.rows(),
    ]
    print("\n".join(lines))
    if arguments.save:
        write_section("time_to_quality", lines)


if __name__ == "__main__":
    main()
