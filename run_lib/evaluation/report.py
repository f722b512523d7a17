"""Numbers with everything that is needed to trust them, in one file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from run_lib.files import read_record, write_json
from run_lib.fingerprint import Basis
from sde_lib.words import digits

NORMAL = 1.959964
"""Standard errors to either side of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Number:
    """One measured number.

    Attributes:
        name: what was measured.
        value: the estimate.
        stderr: its standard error; None for a number that has none (an exact bound, say).
        count: of images or samples it is an estimate over.
        unit: of the value.
        nfe: network evaluations for one image or sample, averaged; 0 where no network was asked.
        seconds: wall-clock time that it took.
        seed: of the run.
        config_hash: of the resolved configuration.
        step: of the checkpoint.
        note: convention or reference, in words.
        stderr_images, stderr_draws, stderr_probes: of a likelihood, the parts of its standard error
            (``run_lib.evaluation.likelihood_errors``); None where the draws cannot tell them apart.
        fingerprint: of all that it depends on (``run_lib.fingerprint``); empty: it was not recorded.
        arithmetic: precision and device that it was computed in; empty in reports of before.
        protocol: of a metric of images, all that it was made by, in words.
        low, high: a 95 % interval, where it is not the value and twice the standard error.
        sets: of a mean over repeated sets of samples, the values of each.
    """

    name: str
    value: float
    stderr: float | None
    count: int
    unit: str
    nfe: float
    seconds: float
    seed: int
    config_hash: str
    step: int
    note: str = ""
    stderr_images: float | None = None
    stderr_draws: float | None = None
    stderr_probes: float | None = None
    fingerprint: str = ""
    arithmetic: str = ""
    protocol: Mapping[str, str] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    sets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sets", tuple(self.sets))  # a file has lists

    @property
    def half(self) -> float | None:
        """Half of the 95 % interval, of a normal estimate where it is not known otherwise; None: it has no error."""
        if self.low is not None and self.high is not None:
            return (self.high - self.low) / 2
        return None if self.stderr is None or not math.isfinite(self.stderr) else NORMAL * self.stderr

    @property
    def family(self) -> str:
        """What its name has in common with those of its references."""
        return self.name.partition("/")[0]

    @property
    def is_reference(self) -> bool:
        """Whether others are read against it: real data, a floor, a simple fit."""
        return self.note.startswith("reference")

    def __str__(self) -> str:
        error = "" if self.stderr is None else f" +- {digits(self.stderr, 2)}"
        if self.stderr_draws is not None:
            error += f" (draws {digits(self.stderr_draws, 2)})"
        return f"{digits(self.value, 4)}{error} {self.unit}".rstrip()


@dataclass(frozen=True)
class Lost:
    """An image or a sample that has no number.

    Attributes:
        name: the number that it is missing from.
        index: of the image in its split, or of the sample.
        reason: what happened and what to do.
        config_hash, step, fingerprint: of the evaluation.
        what: ``image`` or ``sample``.
    """

    name: str
    index: int
    reason: str
    config_hash: str
    step: int
    fingerprint: str = ""
    what: str = "image"

    def __str__(self) -> str:
        number = "likelihood" if self.likelihood else "number"
        return f"{self.name}: {self.what} {self.index} has no {number}: {self.reason}"

    @property
    def likelihood(self) -> bool:
        """Whether the number is one."""
        return self.name.startswith(("bpd", "nats", "vlb"))


class IncompleteError(Exception):
    """Numbers were made and written, but images are missing from them."""


class Report:
    """``report.json``: the numbers of every checkpoint evaluated in a folder. Written after each number.

    A number of the same name, checkpoint and configuration but of another fingerprint stays until it is made anew,
    and is never taken for the new one.

    Args:
        path: of the file.
        writes: whether it is this process that writes it.

    Attributes:
        classes: names of the classes that labels stand for; empty: none are known.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self._writes = path, writes
        self._lost: dict[tuple[str, int, str], list[Lost]] = {}
        self._numbers: dict[tuple[str, int, str], Number] = {}
        self._bases: dict[str, Basis] = {}
        self.classes: list[str] = []
        if path.is_file():
            try:
                read_record(path, self._take)
            except ValueError as error:
                raise ValueError(
                    f"{path} is no report of ours: it {error}. Move it away, or choose another --eval_folder."
                ) from error

    def _take(self, content: Any) -> None:
        """What an earlier run wrote."""
        held = [Number(**entry) for entry in content["numbers"]]
        lost = [Lost(**entry) for entry in content.get("lost", [])]
        self.classes = list(content.get("classes", []))
        self._bases = {key: Basis(dict(parts)) for key, parts in content.get("made_from", {}).items()}
        self._numbers = {(n.name, n.step, n.config_hash): n for n in held}
        for image in lost:
            self._lost.setdefault((image.name, image.step, image.config_hash), []).append(image)

    def has(self, name: str, step: int, config_hash: str, fingerprint: str = "") -> bool:
        """Whether the number is there already, for this checkpoint and configuration and all else it depends on."""
        found = self._numbers.get((name, step, config_hash))
        return found is not None and found.fingerprint == fingerprint

    def begin(self, step: int, config_hash: str, basis: Basis) -> str:
        """Write down what numbers of an evaluation will depend on.

        Returns:
            What is different of the numbers that the report has of this checkpoint and configuration, as one sentence;
            empty: nothing.
        """
        self._bases[basis.hash] = basis
        same = [n for n in self if (n.step, n.config_hash) == (step, config_hash)]
        stale = [n for n in same if n.fingerprint != basis.hash]
        if not stale:
            return ""
        bases = [self._bases.get(n.fingerprint) for n in stale]
        reasons = dict.fromkeys(
            "a program that did not record what they depend on"
            if held is None
            else f"other {' and '.join(basis.changed(held.parts))}"
            for held in bases
        )
        return f"{self.path}: {len(stale)} numbers of step {step} are of {', '.join(reasons)}; they are made anew"

    def made_from(self, fingerprint: str) -> Mapping[str, str]:
        """The parts of what numbers of a fingerprint depend on, each with its own; empty: they were not recorded."""
        return self._bases[fingerprint].parts if fingerprint in self._bases else {}

    def add(self, *numbers: Number) -> None:
        """Add numbers, or replace them, and write the file."""
        for n in numbers:
            key = n.name, n.step, n.config_hash
            self._numbers[key] = n
            if any(image.fingerprint != n.fingerprint for image in self._lost.get(key, ())):
                del self._lost[key]
        self._write()

    def lose(
        self,
        name: str,
        step: int,
        config_hash: str,
        reasons: dict[int, str],
        fingerprint: str = "",
        what: str = "image",
    ) -> None:
        """Say which images or samples, by index, are missing from a number and why; and write the file."""
        self._lost[name, step, config_hash] = [
            Lost(name, index, reason, config_hash, step, fingerprint, what)
            for index, reason in reasons.items()
        ]
        self._write()

    def lost(self, step: int, config_hash: str, fingerprint: str = "") -> list[Lost]:
        """The images that one evaluation lost."""
        return [
            image
            for (_, s, h), images in self._lost.items()
            if (s, h) == (step, config_hash)
            for image in images
            if image.fingerprint == fingerprint
        ]

    def _write(self) -> None:
        if self._writes:
            lost = [asdict(image) for images in self._lost.values() for image in images]
            used = {n.fingerprint for n in self} | {image["fingerprint"] for image in lost}
            made_from = {key: dict(basis.parts) for key, basis in self._bases.items() if key in used}
            write_json(
                self.path,
                {
                    "numbers": [asdict(n) for n in self],
                    **({"lost": lost} if lost else {}),
                    **({"made_from": made_from} if made_from else {}),
                    **({"classes": self.classes} if self.classes else {}),
                },
            )

    def __iter__(self) -> Iterator[Number]:
        return iter(self._numbers.values())

    def of(self, step: int, config_hash: str, fingerprint: str = "") -> list[Number]:
        """The numbers of one checkpoint under one configuration, and of all else that they depend on."""
        of = (step, config_hash, fingerprint)
        return [n for n in self if (n.step, n.config_hash, n.fingerprint) == of]
