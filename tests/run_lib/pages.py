"""Work directories with results in them, written by the writers of the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from run_lib.evaluation.report import Number, Report
from run_lib.files import write_json
from run_lib.fingerprint import Basis
from run_lib.ours import mark
from run_lib.pictures import save_png
from run_lib.training.history import History

CONFIG = "abcdef012345"
BASIS = Basis({"weights": "1", "data, test": "2"})


def number(name: str, value: float, stderr: float | None = None, step: int = 60, **more: Any) -> Number:
    """A number of a checkpoint, of 100 images."""
    given = {"count": 100, "unit": "", "nfe": 20.0, "seconds": 1.5, "seed": 42, "config_hash": CONFIG}
    return Number(name, value, stderr, step=step, **{**given, "fingerprint": BASIS.hash, **more})


def evaluated(workdir: Path, *numbers: Number, classes: tuple[str, ...] = (), basis: Basis = BASIS) -> Report:
    """A report of numbers."""
    report = Report(workdir / "eval" / "report.json")
    report.classes = list(classes)
    report.begin(60, CONFIG, basis)
    report.add(*numbers)
    return report


def trained(workdir: Path, losses: dict[int, float] | None = None, **settings: Any) -> None:
    """The record and the losses of a training."""
    sections: dict[str, Any] = {
        "data": {"dataset": "digits"},
        "model": {"name": "adm"},
        "training": {"sde": "vpsde", "n_iters": 60},
        "sampling": {"num_steps": 20},
    }
    for path, value in settings.items():
        section, _, name = path.partition("__")
        sections[section] = {**sections[section], name: value}
    write_json(workdir / "config.json", {**sections, "seed": 42})
    History(workdir, training=losses or {10: 0.5, 60: 0.25}, held_out={60: 0.125}).write()
    coloured(workdir / "loss.png", 0x600000)


def coloured(path: Path, colour: int, size: tuple[int, int] = (40, 60)) -> None:
    """A picture of one colour, 24 bits."""
    pixel = [colour >> 16, colour >> 8 & 255, colour & 255]
    save_png(np.broadcast_to(np.array(pixel, np.uint8), (*size, 3)).copy(), path)


def sampled(workdir: Path, frames: int = 0, classes: tuple[str, ...] = ()) -> None:
    """Pictures of samples, of their trajectory and by class, each of a colour of its own."""
    folder = workdir / "samples"
    coloured(folder / "samples.png", 0x123456)
    for k in range(frames):
        coloured(folder / "trajectory" / f"frame_{k:04d}.png", 0x100000 + k)
    for k in range(len(classes)):
        coloured(folder / "classes" / f"class_{k:04d}.png", 0x200000 + k)
    facts = {"count": 100, "nfe": 20, "seconds": 1.0, "seed": 42, "step": 60, "config_hash": CONFIG}
    write_json(folder / "samples.json", {**facts, **({"classes": list(classes)} if classes else {})})
    write_json(folder / "settings.json", {**mark("sample"), "seed": 42, "sampling": {"num_steps": 20}})


def tuned(workdir: Path, folder: str = "tune") -> None:
    """A sweep, as its table has it."""
    rows = [
        {"snr": snr, "frechet": score, "frechet +-": 0.5, "nfe": 40.0, "seconds": 1.0, "best": best,
         "as good as the best": best, "failed": False, "by_seed": {"frechet": [score]}}
        for snr, score, best in ((0.1, 7.125, True), (0.2, 9.25, False))
    ]  # fmt: skip
    content = {
        "confidence": 0.95,
        "intervals": "Student's t",
        "ranked_by": {"name": "frechet"},
        "best": {"snr": 0.1},
    }
    write_json(workdir / folder / "table.json", {**content, "as_good": [], "rows": rows})
    coloured(workdir / folder / "plot.png", 0x300000)


def controlled(workdir: Path, task: str = "inpaint") -> None:
    """Restored images, as their report has them."""
    folder = workdir / "control" / task
    write_json(folder / "settings.json", {**mark("control"), "task": task, "files": []})
    mean = {"psnr": 13.8125, "ssim": 0.8125, "residual": 0.0, "nfe": 20.0, "pullbacks": 0.0, "seconds": 0.1}
    images = [{"image": "00000", **mean, "results": []}]
    content = {
        "mean": mean,
        "measurement": {"psnr": 10.4375, "ssim": 0.4375},
        "images": images,
        "skipped": [],
    }
    write_json(folder / "report.json", content)
    coloured(folder / "grid.png", 0x400000)
