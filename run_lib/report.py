"""Numbers with everything that is needed to trust them, in one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from run_lib.files import write_json


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

    def __str__(self) -> str:
        error = "" if self.stderr is None else f" +- {self.stderr:.2g}"
        return f"{self.value:.4g}{error} {self.unit}".rstrip()


class Report:
    """``report.json``: the numbers of every checkpoint evaluated in a folder. Written after each number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers: dict[tuple[str, int, str], Number] = {}
        if path.is_file():
            try:
                held = [Number(**entry) for entry in json.loads(path.read_text())["numbers"]]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path} is no report of ours ({error}); move it away or choose another --eval_folder."
                ) from error
            self._numbers = {(n.name, n.step, n.config_hash): n for n in held}

    def has(self, name: str, step: int, config_hash: str) -> bool:
        """Whether the number is there already, for this checkpoint and configuration."""
        return (name, step, config_hash) in self._numbers

    def add(self, *numbers: Number) -> None:
        """Add numbers, or replace them, and write the file."""
        for n in numbers:
            self._numbers[n.name, n.step, n.config_hash] = n
        write_json(self.path, {"numbers": [asdict(n) for n in self]})

    def __iter__(self) -> Iterator[Number]:
        return iter(self._numbers.values())

    def of(self, step: int, config_hash: str) -> list[Number]:
        """The numbers of one checkpoint under one configuration."""
        return [n for n in self if (n.step, n.config_hash) == (step, config_hash)]
