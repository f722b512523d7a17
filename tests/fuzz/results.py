"""What is wrong with a run that says it went well: files that our own readers refuse, numbers that are not finite."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models.checkpoints.loader import read, recognise
from run_lib.config.section_files import fields_of_file
from run_lib.evaluation.report import Report
from run_lib.files import is_partial
from run_lib.locks import FILE
from run_lib.ours import record_of
from run_lib.training.checkpoints import Checkpoints, read_checkpoint
from tests.fuzz.cases import Case
from tests.fuzz.small import get_config


def wrong_result(case: Case, folder: Path) -> str:
    """The first thing that is wrong; empty: nothing."""
    flags = " ".join(case.flags)
    if case.mode == "list" or "--mode" in flags or "-h" in flags or "-?" in flags:
        return "" if (folder / "printed").read_text().strip() else "nothing was printed"
    planted = {folder / file.place for file in case.files}
    left = [
        p
        for at in ("run", "out")
        for p in (folder / at).rglob(".*")
        if (is_partial(p) or p.name == FILE) and p not in planted
    ]
    if left:
        return f"{left[0].relative_to(folder)} is left"
    if case.workdir != "../run":
        return ""
    try:
        found = _WRONG.get(case.mode, lambda case, folder: iter(()))(case, folder)
        return next(found, "")
    except Exception as error:
        return f"its results cannot be read: {type(error).__name__}: {error}"


def _value(case: Case, path: str) -> Any:
    """A field as the case has it, or as its configuration does; a section's file may have changed it too."""
    for name, value in reversed(case.fields):
        if name == path:
            return value
    section, _, name = path.partition(".")
    return get_config(case.config)[section].get(name)


def _shape(case: Case) -> tuple[int, ...] | None:
    """Of a sample; None where the case has settings of data."""
    if any(path.startswith("data") for path, _ in case.fields):
        return None
    data = get_config(case.config).data
    size = data.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    return tuple(data.shape) or (data.num_channels, *size)


def _written(case: Case) -> tuple[int, ...] | None:
    """The shape of a sample in files: images have their channels last."""
    shape = _shape(case)
    return (*shape[1:], shape[0]) if shape is not None and len(shape) == 3 else shape


def _not_finite(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, held in value.items():
            yield from _not_finite(held, f"{where}.{key}")
    elif isinstance(value, list):
        for held in value:
            yield from _not_finite(held, where)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is {value}"


def _json(path: Path) -> Iterator[str]:
    yield from _not_finite(json.loads(path.read_text()), path.name)


def _array(path: Path, count: int | None, shape: tuple[int, ...] | None) -> Iterator[str]:
    with np.load(path, allow_pickle=False) as held:
        array = held["arr_0"]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        yield f"{path.name} is not finite"
    if count is not None and len(array) != count:
        yield f"{path.name} has {len(array)} rows of {count}"
    if shape is not None and array.shape[1:] != shape:
        yield f"{path.name} has rows of {array.shape[1:]}, not of {shape}"


def _samples(case: Case, folder: Path) -> Iterator[str]:
    at, from_file = folder / "run/samples", any(path == "sampling" for path, _ in case.fields)
    count = None if from_file else int(_value(case, "sampling.num_samples"))
    yield from _array(at / "samples.npz", count, _written(case))
    yield from _json(at / "samples.json")
    json.loads((at / "settings.json").read_text())
    with Image.open(at / "samples.png") as picture:
        picture.load()


def _training(case: Case, folder: Path) -> Iterator[str]:
    checkpoints = Checkpoints(folder / "run/checkpoints")
    latest = checkpoints.latest()
    if latest is None:
        yield from (
            () if any(path == "resume_from" for path, _ in case.fields) else ("there is no checkpoint",)
        )
        return
    held = read_checkpoint(latest)
    for part in (held["model"], held["ema"]["shadow"]):
        yield from (
            f"{latest.name}: {name} is not finite"
            for name, value in part.items()
            if not torch.isfinite(value).all()
        )
    wanted = int(_value(case, "training.n_iters"))
    if held["step"] < wanted:
        yield f"the last checkpoint is of step {held['step']}, not of {wanted}"
    if (
        not any("config.json" in file.place for file in case.files)
        and record_of(folder / "run/config.json", "train", ("seed", "model")) is None
    ):
        yield "config.json is no record of ours"


def _evaluation(case: Case, folder: Path) -> Iterator[str]:
    name = next(
        (flag.partition("=")[2] for flag in reversed(case.flags) if flag.startswith("--eval_folder=")), "eval"
    )
    path = folder / "run" / name / "report.json"
    switches = ("loss", "bpd", "sampling", "accuracy", "restoration")
    if path.exists() or any(
        str(_value(case, f"eval.enable_{s}")).lower() in ("true", "1", "yes") for s in switches
    ):
        numbers = list(Report(path))
        yield from (
            f"{n.name} is {n.value} +- {n.stderr}"
            for n in numbers
            if not math.isfinite(n.value) or not math.isfinite(n.stderr or 0)
        )
        yield from () if numbers else ("the report has no number",)


def _all(case: Case, folder: Path) -> Iterator[str]:
    config = get_config(case.config)
    if not case.config.startswith("toy/"):
        yield from _training(case, folder)
    if config.training.task != "classifier":
        yield from _samples(case, folder)
    yield from _evaluation(case, folder)


def _tuning(case: Case, folder: Path) -> Iterator[str]:
    if str(_value(case, "tune.grid")).lower() in ("true", "1", "yes"):
        grids = sorted((folder / "run/checkpoints").glob("*.grids.json"))
        yield from _json(grids[-1]) if grids else ("there is no grid",)
        return
    at = folder / "run" / str(_value(case, "tune.folder"))
    yield from () if list(fields_of_file("sampling", str(at / "best.json"))) else ("best.json sets nothing",)
    yield from _json(at / "best.json")
    for picture in at.glob("*.png"):
        Image.open(picture).load()


def _control(case: Case, folder: Path) -> Iterator[str]:
    at = folder / "run/control"
    if _value(case, "control.output"):
        at = folder / "here" / str(_value(case, "control.output"))
    made = sorted(at.rglob("report.json"), key=lambda p: p.stat().st_mtime)
    if not made:
        yield "there is no report"
        return
    report = json.loads(made[-1].read_text())
    yield from _not_finite(report, "report.json")
    yield from _array(made[-1].with_name("results.npz"), report.get("count"), _written(case))


def _reconstruction(case: Case, folder: Path) -> Iterator[str]:
    at = (
        folder / "here" / str(_value(case, "reconstruct.output"))
        if _value(case, "reconstruct.output")
        else folder / "run/reconstruct"
    )
    yield from _json(at / "report.json")
    pictures = sorted((at / "reconstruction").rglob("*.png"))
    yield from () if pictures else ("there is no reconstruction",)
    for picture in pictures:
        Image.open(picture).load()


def _conversion(case: Case, folder: Path) -> Iterator[str]:
    if _value(case, "convert.path"):
        path = folder / "here" / str(_value(case, "convert.path"))
    else:
        path = max((folder / "run/converted").iterdir(), key=lambda p: p.stat().st_mtime)
    recognise(read(path), path)
    yield from ()


def _description(case: Case, folder: Path) -> Iterator[str]:
    text = (folder / "printed").read_text()
    if not text.strip() or "nan" in text.split():
        yield "nothing was printed"


_WRONG = {
    "sample": _samples,
    "train": _training,
    "eval": _evaluation,
    "all": _all,
    "tune": _tuning,
    "control": _control,
    "reconstruct": _reconstruction,
    "convert": _conversion,
    "describe": _description,
}
