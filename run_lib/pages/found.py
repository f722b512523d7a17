"""What lies in a work directory: records, reports, tables and pictures of the modes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from run_lib.evaluation.checkpoints import by_checkpoint
from run_lib.evaluation.report import Number, Report
from run_lib.faults import naming
from run_lib.files import read_json, read_record
from run_lib.ours import MADE_BY, record_of

DEPTH = 3
"""Folders below the work directory in which a mode may have written its report."""
_NOT_RESULTS = frozenset(
    {"checkpoints", "earlier", "parts", "profiles", "results", "tensorboard", "trajectory"}
)
_NO_SETTINGS = frozenset({MADE_BY, "program", "step", "weights"})
"""Entries of the record of samples that nobody sets."""


@dataclass(frozen=True)
class Evaluated:
    """An evaluation.

    Attributes:
        folder: of the report.
        report: its numbers.
    """

    folder: Path
    report: Report

    @property
    def pictures(self) -> list[Path]:
        """Of the samples that were measured, the last checkpoint's first; then all others."""
        samples = sorted(self.folder.glob("samples_*.png"), key=lambda path: (-_number(path), path.name))
        return [*samples, *self.nearest]

    @property
    def nearest(self) -> list[Path]:
        """Samples beside their nearest neighbours in the training data."""
        return sorted(self.folder.glob("*nearest*.png"))

    def groups(self) -> dict[str, dict[int, list[Number]]]:
        """Numbers by the hash of their configuration, and by the step of their checkpoint in order of steps."""
        keys = dict.fromkeys(number.config_hash for number in self.report)
        return {key: by_checkpoint(self.report, key) for key in keys}


@dataclass(frozen=True)
class Tuned:
    """A sweep.

    Attributes:
        folder: of its table.
        rows: a setting and its scores, each, by the heads of the table.
        best: field and value of the best setting.
        ranked_by: the score by which it is.
        confidence: of the intervals, in (0, 1).
        intervals: what they are, in words.
    """

    folder: Path
    rows: list[dict[str, Any]]
    best: dict[str, Any]
    ranked_by: str
    confidence: float
    intervals: str

    @classmethod
    def of(cls, folder: Path, content: Any) -> Tuned:
        """Of ``table.json``; raises what ``read_record`` expects of other content."""
        first, *rest = (dict(row) for row in content["rows"])
        best, ranked_by = dict(content["best"]), str(content["ranked_by"]["name"])
        return cls(
            folder, [first, *rest], best, ranked_by, float(content["confidence"]), str(content["intervals"])
        )


@dataclass(frozen=True)
class Controlled:
    """Work on given images.

    Attributes:
        folder: of the report.
        mean, measurement: scores of the results and of the measurement, by name.
        images: scores of the results of each image, which is ``image``.
        skipped: number of images that could not be read.
    """

    folder: Path
    mean: dict[str, Any]
    measurement: dict[str, Any]
    images: list[dict[str, Any]]
    skipped: int

    @classmethod
    def of(cls, folder: Path, content: Any) -> Controlled:
        """Of ``report.json``; raises what ``read_record`` expects of other content."""
        images = [dict(image) for image in content["images"]]
        mean, measurement = dict(content["mean"]), dict(content.get("measurement", {}))
        return cls(folder, mean, measurement, images, len(content.get("skipped", ())))


@dataclass(frozen=True)
class Sampled:
    """What is known of the samples.

    Attributes:
        count: of them.
        nfe: network evaluations for each.
        step: of the checkpoint.
        classes: their names; empty: none are known.
    """

    count: int
    nfe: float
    step: int
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, content: Any) -> Sampled:
        """Of ``samples.json``; raises what ``read_record`` expects of other content."""
        classes = tuple(str(name) for name in content.get("classes", ()))
        return cls(int(content["count"]), float(content["nfe"]), int(content["step"]), classes)


@dataclass
class Found:
    """All of it.

    Attributes:
        workdir: the work directory.
        sampled: the samples; None: there are none.
        evaluated, tuned, controlled: by mode, in the order of their folders' names.
        unread: why files with the names of ours are not on the page.
    """

    workdir: Path
    sampled: Sampled | None = None
    evaluated: list[Evaluated] = field(default_factory=list)
    tuned: list[Tuned] = field(default_factory=list)
    controlled: list[Controlled] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, workdir: Path) -> Found:
        """Look into a work directory. What is not of ours, or damaged, is named in ``unread``."""
        found = cls(workdir)
        found._take(workdir / "samples" / "samples.json", found._samples)
        for folder in folders(workdir, DEPTH):
            found._take(folder / "report.json", found._report)
            found._take(folder / "table.json", found._table)
        return found

    def _take(self, path: Path, take: Callable[[Path], None]) -> None:
        if not path.is_file():
            return
        try:
            with naming(path):
                take(path)
        except ValueError as error:
            text = str(error)
            self.unread.append(text if str(path) in text else f"{path} {text}")

    def _samples(self, path: Path) -> None:
        self.sampled = read_record(path, Sampled.of)

    def _report(self, path: Path) -> None:
        folder = path.parent
        if (
            record_of(folder / "settings.json", "control", ("task", "control", "sampling", "step"))
            is not None
        ):
            self.controlled.append(read_record(path, lambda content: Controlled.of(folder, content)))
            return
        if os.path.lexists(folder / "settings.json"):
            return  # of a mode that the page has no part for
        report = Report(path, writes=False)
        if not all(_is_sound(number) for number in report):
            raise ValueError("has numbers whose entries are of another kind.")
        if any(True for _ in report):
            self.evaluated.append(Evaluated(folder, report))

    def _table(self, path: Path) -> None:
        self.tuned.append(read_record(path, lambda content: Tuned.of(path.parent, content)))

    @property
    def samples(self) -> Path:
        return self.workdir / "samples"

    @property
    def frames(self) -> list[Path]:
        """Of the trajectory, in their order."""
        return sorted((self.samples / "trajectory").glob("frame_*.png"))

    @property
    def strips(self) -> dict[int, Path]:
        """A picture of the samples of each class, by its number."""
        return {_number(path): path for path in sorted((self.samples / "classes").glob("class_*.png"))}

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty: none are known."""
        drawn = self.sampled.classes if self.sampled else ()
        named = (drawn, *(one.report.classes for one in self.evaluated))
        return next(([str(name) for name in names] for names in named if names), [])

    @cached_property
    def training(self) -> Mapping[str, Any]:
        """The record of the training; empty: there was none."""
        return _record(self.workdir / "config.json")

    @cached_property
    def sampling(self) -> Mapping[str, Any]:
        """The record of the samples; empty: there are none."""
        return _record(self.samples / "settings.json")

    @property
    def settings(self) -> dict[str, str]:
        """Every setting that is on record, as text, by its path."""
        held = {**self.sampling, **self.training}
        return dict(_flat({key: held[key] for key in held if key not in _NO_SETTINGS}))

    @property
    def empty(self) -> bool:
        """Whether there is nothing of a run."""
        return not (self.evaluated or self.tuned or self.controlled or self.training or self.sampled)


def folders(top: Path, depth: int) -> Iterator[Path]:
    """Folders below one in the order of their names, down to a depth; not those of other runs, nor of raw results."""
    for entry in sorted(os.scandir(top), key=lambda entry: entry.name):
        if (
            not entry.is_dir(follow_symlinks=False)
            or entry.name in _NOT_RESULTS
            or entry.name.startswith(".")
        ):
            continue
        folder = Path(entry.path)
        if (folder / "config.json").is_file() or (folder / "checkpoints").is_dir():
            continue
        yield folder
        if depth > 1:
            yield from folders(folder, depth - 1)


def _number(path: Path) -> int:
    """The number at the end of a file's name; -1: there is none."""
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else -1


def _record(path: Path) -> Mapping[str, Any]:
    try:
        held = read_json(path)
    except (OSError, ValueError):  # the mode that wrote it will say so
        return {}
    return held if isinstance(held, dict) else {}


def _is_sound(number: Number) -> bool:
    """Whether the entries of a number that was read are of their kinds."""
    kinds: dict[type, tuple[object, ...]] = {
        int: (number.count, number.step, number.seed),
        str: (
            number.name,
            number.unit,
            number.note,
            number.config_hash,
            number.fingerprint,
            number.arithmetic,
        ),
    }
    real = (number.value, number.nfe, number.seconds)
    errors = (number.stderr, number.stderr_images, number.stderr_draws, number.stderr_probes)
    return (
        all(isinstance(entry, kind) for kind, entries in kinds.items() for entry in entries)
        and all(isinstance(entry, int | float) for entry in (*real, *(e for e in errors if e is not None)))
        and isinstance(getattr(number, "protocol", {}), Mapping)
    )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, held in sorted(value.items()):
            yield from _flat(held, f"{name}.{key}" if name else str(key))
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)
