"""Today's networks beside one another, and autoguidance beside guidance and none: equal seconds of training.

    python -m benchmarks.todays_models digits fashion_mnist --seconds 300 --save
    python -m benchmarks.todays_models digits --seconds 6 --only EDM --sets 2 --samples 100      # to try it

Each network trains by the program's command line, in bfloat16 where the processor has it, for as many steps as its
seconds allow, so that schedules end: the seconds of a step are measured first, all in turn, on a quiet machine, and
kept; the trainings themselves may then be interrupted, or run beside other work, by several processes in one folder
(`--only`). Then sets of samples of 20 evaluations in bfloat16 are scored, by their pixels against all digits, or in
the features of `benchmarks/fashion_features.py` against Fashion-MNIST's test images, with Student's intervals over the
sets at 95 %; and bits/dim of test images by the probability flow. EDM, flow, VDM and ADM are the same network, by the
objectives of those papers. Real images, which show what a perfect model would score, are as many digits drawn with
replacement (of precision 1, as copies), or training images of Fashion-MNIST.

Guidance is that of one class-conditional network: none, classifier-free, and autoguidance by a network of half the
width that has trained a quarter of the steps, each with the scale that does best on one set of another seed. Sets of
one place in the order begin with the same noise: differences are paired by them.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.fashion_features import classifier, images
from benchmarks.program import ROOT, Program
from benchmarks.report import described, machine, write_section
from benchmarks.time_to_quality import METRICS, Judge, speeds
from run_lib.statistics import t_interval

SAMPLER = {
    "sampling.predictor": "auto", "sampling.num_steps": 20, "sampling.batch_size": 500,
    "sampling.precision": "bfloat16",
}  # fmt: skip
SCALES = (1.1, 1.25, 1.5, 2.0)
GUIDANCE = "guidance"
Settings = Mapping[str, object]


@dataclass(frozen=True)
class Data:
    """What is learned.

    Attributes:
        models: configuration and settings of each, by the name in the table.
        conditional: configuration of the class-conditional network.
        settings: of all.
        likelihood: of the evaluation in bits/dim.
        judge: folder -> what scores samples.
        real: count -> other real images in levels than those that samples are scored against, or a new draw of them.
        samples: of a set; as many real images have a distance well below a model's.
    """

    models: Mapping[str, tuple[str, Settings]]
    conditional: str
    settings: Settings
    likelihood: Settings
    judge: Callable[[Path], Judge]
    real: Callable[[int], Tensor]
    samples: int


def _models(data: str) -> dict[str, tuple[str, Settings]]:
    return {
        "DDPM++": (f"ddpm/{data}", {"model.name": "ddpmpp"}),
        "EDM": (f"edm/{data}", {}),
        "EDM2": (f"edm2/{data}", {}),
        "DiT": (f"dit/{data}", {}),
        "flow": (f"flow/{data}", {}),
        "ADM": (f"ddpm/{data}", {}),
        "VDM": (f"vdm/{data}", {}),
    }


def _digits(_: Path) -> Judge:
    from sklearn.datasets import load_digits

    return Judge(lambda levels: levels.flatten(1).double().numpy(), load_digits().data)


def _drawn_digits(count: int) -> Tensor:
    from sklearn.datasets import load_digits

    levels = torch.from_numpy(load_digits().images)[:, None]
    return levels[torch.randint(len(levels), (count,), generator=torch.Generator().manual_seed(0))]


def data_sets(root: Path) -> dict[str, Data]:
    def fashion(folder: Path) -> Judge:
        return Judge.of_fashion(classifier(root, folder / "classifier.pt"), root)

    def clothes(count: int) -> Tensor:
        return images(root, "train")[0][:count]

    fast: Settings = {"training.precision": "auto"}
    where: Settings = {"data.dataset": "idx", "data.root": root, **fast}
    few: Settings = {
        "eval.bpd_num_images": 256, "eval.bpd_rtol": 1e-3, "eval.bpd_atol": 1e-3, "eval.bpd_solver": "bosh3",
    }  # fmt: skip
    return {
        "digits": Data(_models("digits"), "adm/digits_guided", fast, {}, _digits, _drawn_digits, 5000),
        "fashion_mnist": Data(
            _models("fashion_mnist"), "adm/fashion_mnist", where, few, fashion, clothes, 1000
        ),
    }


@dataclass(frozen=True)
class Bench:
    """One data set's models, in a folder of their runs.

    Attributes:
        data: what is learned.
        folder: of runs and results.
        sets, samples: how many sets of how many samples are scored.
    """

    data: Data
    folder: Path
    sets: int
    samples: int

    @functools.cached_property
    def judge(self) -> Judge:
        return self.data.judge(self.folder)

    def program(self, config: str, settings: Settings) -> Program:
        return Program(f"configs/{config}.py", {"device": "cpu", **self.data.settings, **settings})

    def scored(self, pixels: Tensor) -> list[tuple[float, ...]]:
        """``METRICS`` of each set."""
        return [self.judge.score(part).values for part in pixels.split(self.samples)]

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """A result, made where there is none yet."""
        file = self.folder / f"{name}.json"
        if not file.is_file():
            made = make()
            file.write_text(json.dumps(made))
            print(name, made, flush=True)
        return json.loads(file.read_text())

    def model(self, name: str, steps: int) -> dict[str, Any]:
        """Train, sample, score, evaluate."""
        program, workdir = self.program(*self.data.models[name]), self.folder / name
        length = {"training.n_iters": steps}

        def make() -> dict[str, Any]:
            program.run("train", workdir, length)
            pixels = program.sample(workdir, self.sets * self.samples, {**length, **SAMPLER})
            flags = {"eval.enable_bpd": True, "eval.enable_loss": False, "eval.enable_sampling": False}
            program.run("eval", workdir, {**length, **flags, **self.data.likelihood})
            return {"scores": self.scored(pixels), "steps": steps}

        found: dict[str, Any] = self.kept(name, make)
        return found

    def guided(self, steps: int) -> dict[str, Any]:
        """Scores of none, classifier-free guidance and autoguidance, with the scale of each."""
        main, length = self.folder / "conditional", {"training.n_iters": steps}
        whole = self.program(self.data.conditional, length)
        worse = self.folder / "worse"
        half = self.program(self.data.conditional, {"model.nf": 16, "training.n_iters": steps // 4})
        if not (main / "samples").is_dir():
            whole.run("train", main)
            half.run("train", worse)

        def sample(name: str, scale: float, count: int, seed: int) -> list[tuple[float, ...]]:
            flags = {"guidance.name": name, "guidance.scale": scale, "sampling.seed": seed, **SAMPLER}
            if name == "autoguidance":
                flags["guidance.guide"] = worse
            return self.scored(whole.sample(main, count, flags))

        def best(name: str) -> dict[str, Any]:
            tried = {scale: sample(name, scale, self.samples, 1000)[0][0] for scale in SCALES}
            scale = min(tried, key=lambda one: tried[one])
            return {"scale": scale, "scores": sample(name, scale, self.sets * self.samples, 1)}

        everything = self.sets * self.samples
        return {
            "none": self.kept(
                "guidance none",
                lambda: {"scale": 1.0, "scores": sample("classifier_free", 1.0, everything, 1)},
            ),
            "classifier-free": self.kept("guidance free", lambda: best("classifier_free")),
            "autoguidance": self.kept("guidance auto", lambda: best("autoguidance")),
        }


def cells(scores: Sequence[Sequence[float]]) -> str:
    columns = np.array(scores).T
    return " | ".join(str(t_interval(column, 0.95)) for column in columns)


def table(name: str, data: Data, given: argparse.Namespace) -> list[str]:
    """The section of a data set."""
    folder = (given.folder or ROOT / "runs/todays_models") / name
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(data, folder, given.sets, given.samples or data.samples)
    asked = [one for one in (*data.models, GUIDANCE) if given.only is None or one in given.only]
    experiments = {**data.models, GUIDANCE: (data.conditional, {})}
    took = speeds(folder / "speed.json", {one: bench.program(*experiments[one]) for one in asked})
    steps = {one: int(given.seconds / seconds) for one, seconds in took.items()}
    lines = [
        f"## Today's models: {name}",
        "",
        *described(__doc__),
        f"{given.seconds:g} s of training, {given.sets} sets of {bench.samples} samples. {machine()}",
        "",
        f"| network | steps | images/s | {' | '.join(METRICS)} | bits/dim |",
        "|---|---|---|---|---|---|---|",
        f"| real images | | | {cells(bench.scored(data.real(bench.sets * bench.samples)))} | |",
    ]
    for one in asked:
        if one != GUIDANCE:
            found = bench.model(one, steps[one])
            batch = json.loads((folder / one / "config.json").read_text())["training"]["batch_size"]
            bits = bench.program(*data.models[one]).number(folder / one, "bpd/test")
            lines.append(
                f"| {one} | {found['steps']} | {batch / took[one]:.0f} | {cells(found['scores'])} | {bits} |"
            )
    if {"VDM", "ADM"} <= set(asked):
        better, than = (
            bench.program(*data.models[one]).log_likelihoods(folder / one) for one in ("VDM", "ADM")
        )
        less = t_interval((than - better) / (data.real(1).numel() * math.log(2)), 0.95)
        lines += ["", f"VDM less ADM, the same images and noise: {less} bits/dim."]
    if GUIDANCE in asked:
        lines += [
            "",
            f"| guidance | scale | {' | '.join(METRICS)} | its distance less none's |",
            "|---|---|---|---|---|---|",
        ]
        guided = bench.guided(steps[GUIDANCE])
        none = np.array(guided["none"]["scores"])[:, 0]
        for one, made in guided.items():
            less = "" if one == "none" else t_interval(np.array(made["scores"])[:, 0] - none, 0.95)
            lines.append(f"| {one} | {made['scale']:g} | {cells(made['scores'])} | {less} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", choices=("digits", "fashion_mnist"))
    parser.add_argument("--root", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--samples", type=int, help="of a set; else what suits the data")
    parser.add_argument("--only", nargs="+", help=f"networks of the table, and {GUIDANCE}; else all")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    given = parser.parse_args()
    for name in given.data:
        lines = table(name, data_sets(given.root)[name], given)
        print("\n".join(lines))
        if given.save:
            write_section(f"todays_models {name}", lines)


if __name__ == "__main__":
    main()
