"""The program as its users run it: by the command line, with a configuration and settings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from run_lib.evaluation.report import NORMAL
from run_lib.statistics import Interval

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Program:
    """An experiment.

    Attributes:
        config: its configuration's path.
        settings: its fields.
    """

    config: str
    settings: Mapping[str, object] = field(default_factory=dict)

    def run(self, mode: str, workdir: Path, further: Mapping[str, object] | None = None) -> None:
        """A mode in a work directory; what it prints of its progress is shown."""
        flags = {**self.settings, **(further or {})}
        subprocess.run(
            [sys.executable, "main.py", "--config", self.config, "--mode", mode, "--workdir", str(workdir),
             *(f"--config.{name}={value}" for name, value in flags.items())],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def seconds(self, steps: int) -> float:
        """Of so many steps of training, as many others gone before; what a start costs is not counted."""
        with TemporaryDirectory() as some:
            self.run("train", Path(some), {"training.n_iters": 2 * steps, "training.log_freq": steps})
            events = EventAccumulator(f"{some}/tensorboard").Reload()
            speed: float = events.Scalars("train/images_per_second")[-1].value
            batch: int = json.loads(Path(some, "config.json").read_text())["training"]["batch_size"]
            return steps * batch / speed

    def sample(self, workdir: Path, count: int, further: Mapping[str, object] | None = None) -> Tensor:
        """Samples of the trained model in levels, (count, channels, height, width), uint8."""
        self.run("sample", workdir, {"sampling.num_samples": count, **(further or {})})
        pixels = np.load(workdir / "samples/samples.npz")["arr_0"]
        images: Tensor = torch.from_numpy(pixels).reshape(count, *pixels.shape[1:3], -1).movedim(-1, 1)
        return images

    def number(self, workdir: Path, name: str) -> Interval:
        """Of the last evaluation's report, with its 95 % interval."""
        report = json.loads((workdir / "eval/report.json").read_text())
        found = next(one for one in report["numbers"] if one["name"] == name)
        return Interval(found["value"], NORMAL * found["stderr"])

    def log_likelihoods(self, workdir: Path) -> np.ndarray:
        """Of each test image by the last evaluation, (N,), nats."""
        (file,) = workdir.glob("eval/likelihood_test_*.npz")
        log_p: np.ndarray = np.load(file)["logp"].mean(0)
        return log_p
