"""What lies in a work directory: records, reports, tables and pictures of the modes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from run_lib.evaluation.checkpoints import by_checkpoint
from run_lib.evaluation.report import Number, Report
from run_lib.files import read_json
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
        table: content of ``table.json``.
    """

    folder: Path
    table: Mapping[str, Any]


@dataclass(frozen=True)
class Controlled:
    """Work on given images.

    Attributes:
        folder: of the report.
        settings, report: content of ``settings.json`` and ``report.json``.
    """

    folder: Path
    settings: Mapping[str, Any]
    report: Mapping[str, Any]


@dataclass
class Found:
    """All of it.

    Attributes:
        workdir: the work directory.
        evaluated, tuned, controlled: by mode, in the order of their folders' names.
        unread: why files with the names of ours are not on the page.
    """

    workdir: Path
    evaluated: list[Evaluated] = field(default_factory=list)
    tuned: list[Tuned] = field(default_factory=list)
    controlled: list[Controlled] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, workdir: Path) -> Found:
        """Look into a work directory. What is not of ours, or damaged, is named in ``unread``."""
        found = cls(workdir)
        for folder in folders(workdir, DEPTH):
            for name, take in (("report.json", found._report), ("table.json", found._table)):
                if not (folder / name).is_file():
                    continue
                try:
                    take(folder)
                except (ValueError, OSError) as error:
                    found.unread.append(str(error))
        return found

    def _report(self, folder: Path) -> None:
        settings = record_of(folder / "settings.json", "control", ("task", "control", "sampling", "step"))
        if settings is None:
            report = Report(folder / "report.json", writes=False)
            if any(True for _ in report):
                self.evaluated.append(Evaluated(folder, report))
            return
        self.controlled.append(
            Controlled(folder, settings, _mapping(folder / "report.json", ("images", "mean")))
        )

    def _table(self, folder: Path) -> None:
        self.tuned.append(Tuned(folder, _mapping(folder / "table.json", ("rows", "ranked_by", "best"))))

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
        named = (self.sampled.get("classes"), *(one.report.classes for one in self.evaluated))
        return next(([str(name) for name in names] for names in named if names), [])

    @cached_property
    def training(self) -> Mapping[str, Any]:
        """The record of the training; empty: there was none."""
        return _record(self.workdir / "config.json")

    @cached_property
    def sampling(self) -> Mapping[str, Any]:
        """The record of the samples; empty: there are none."""
        return _record(self.samples / "settings.json")

    @cached_property
    def sampled(self) -> Mapping[str, Any]:
        """What is known of the samples: count, evaluations, step; empty: there are none."""
        return _record(self.samples / "samples.json")

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


def _mapping(path: Path, entries: tuple[str, ...]) -> Mapping[str, Any]:
    """A JSON file of ours.

    Raises:
        ValueError: it is another's, or damaged.
    """
    try:
        held = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
    if not isinstance(held, dict) or not all(entry in held for entry in entries):
        raise ValueError(f"{path} is no report of ours: it lacks {', '.join(entries)}")
    return held


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, held in sorted(value.items()):
            yield from _flat(held, f"{name}.{key}" if name else str(key))
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)
