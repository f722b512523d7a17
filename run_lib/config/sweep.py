"""``config.tune.sweep``: which settings of the sampler are tried."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from run_lib.config.configuration import known_fields
from run_lib.config.parsing import kinds_of
from run_lib.sample_folder import WRITTEN
from sde_lib.registry import unknown_name

Value = float | int | bool | str
NOT_OF_THE_SAMPLER = (*WRITTEN, "batch_size", "seed", "base_samples")
MOST_CANDIDATES = 10_000
FORM = "write field=a,b,c, or a range field=first:last:count, or field=first:last:count:log"


@dataclass(frozen=True)
class Change:
    """A field of ``config.sampling`` and the value it is given."""

    field: str
    value: Value

    def __str__(self) -> str:
        return (
            f"{self.field}={self.value:g}" if isinstance(self.value, float) else f"{self.field}={self.value}"
        )

    @property
    def exact(self) -> str:
        """The same with every digit that tells the value from others: two values are never written alike."""
        short = str(self)
        written = short.partition("=")[2]
        exactly = not isinstance(self.value, float) or float(written) == self.value
        return short if exactly else f"{self.field}={self.value!r}"


@dataclass(frozen=True)
class Candidate:
    """One point of the sweep: a change for each of its fields."""

    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return " ".join(map(str, self.changes))

    @property
    def exact(self) -> str:
        return " ".join(change.exact for change in self.changes)

    def __getitem__(self, field: str) -> Value:
        return next(c.value for c in self.changes if c.field == field)


@dataclass(frozen=True)
class Sweep:
    """All combinations of the values of some fields, the last field varying fastest.

    Attributes:
        fields: in the order in which they were written.
        candidates: one for each combination.
    """

    fields: tuple[str, ...]
    candidates: tuple[Candidate, ...]

    @property
    def numeric(self) -> bool:
        """Whether it is over one field whose values are numbers: there is an interval to speak of."""
        return len(self.fields) == 1 and all(
            isinstance(c.changes[0].value, int | float) and not isinstance(c.changes[0].value, bool)
            for c in self.candidates
        )


def parse_sweep(text: str) -> Sweep:
    """Read ``tune.sweep``.

    Args:
        text: ``snr=0.05,0.1,0.2``; a range ``snr=0.05:0.4:8``, in equal ratios with ``:log``; several fields,
            separated by spaces or semicolons.

    Raises:
        ValueError: another form, a field that is none or not the sampler's, values of another type, a value
            given twice.
    """
    axes = [_axis(part) for part in text.replace(";", " ").split()]
    if not axes:
        raise ValueError(f"config.tune.sweep names nothing to tune; {FORM}, such as snr=0.05,0.1,0.2.")
    fields = tuple(axis[0].field for axis in axes)
    for field in fields:
        if fields.count(field) > 1:
            raise ValueError(
                f"config.tune.sweep has the field {field!r} twice; put all its values in one list."
            )
    if (count := math.prod(map(len, axes))) > MOST_CANDIDATES:
        raise ValueError(
            f"config.tune.sweep has {count} combinations, and at most {MOST_CANDIDATES} are tried at a time: sweep "
            f"coarsely first, or one field at a time."
        )
    return Sweep(fields, tuple(Candidate(changes) for changes in itertools.product(*axes)))


def _axis(part: str) -> list[Change]:
    field, equals, values = part.partition("=")
    known = known_fields()["sampling"]
    if not equals:
        raise ValueError(f"config.tune.sweep: {part!r} gives no values; {FORM}.")
    if field not in known:
        raise ValueError(unknown_name("field of config.sampling in config.tune.sweep", field, list(known)))
    kinds = [kind for kind in kinds_of(f"sampling.{field}") if kind in (bool, int, float, str)]
    if field in NOT_OF_THE_SAMPLER or not kinds:
        raise ValueError(
            f"config.tune.sweep cannot vary {field!r}: it takes numbers and names that say how samples are "
            f"drawn, not {'which' if kinds else 'a list'}."
        )
    kind = kinds[-1]
    found = (
        _range(field, kind, values) if ":" in values else [_value(field, kind, v) for v in values.split(",")]
    )
    seen = set[Value]()
    for value in found:
        if value in seen:
            raise ValueError(f"config.tune.sweep has {field}={value} twice: leave one out.")
        seen.add(value)
    return [Change(field, value) for value in found]


def _value(field: str, kind: type, text: str) -> Value:
    if kind is str and text:
        return text
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is int:
            return int(text)
        value = float(text)
        if math.isfinite(value):
            return value
    except (ValueError, KeyError):
        pass
    wanted = {float: "numbers", int: "whole numbers", bool: "true and false", str: "names"}[kind]
    raise ValueError(f"config.tune.sweep: {field} takes {wanted}, got {text!r}; {FORM}.")


def _range(field: str, kind: type, text: str) -> list[Value]:
    parts = text.split(":")
    log = parts[3:] == ["log"]
    if kind not in (float, int) or len(parts) != 3 + log:
        raise ValueError(f"config.tune.sweep: {field}={text} is no range of numbers; {FORM}.")
    first, last = (float(_value(field, float, p)) for p in parts[:2])
    count = int(_value("the count of a range", int, parts[2]))
    if count > MOST_CANDIDATES:
        raise ValueError(
            f"config.tune.sweep: the range {field}={text} has more than {MOST_CANDIDATES} values."
        )
    if count < 2 or first == last or (log and not min(first, last) > 0):
        raise ValueError(
            f"config.tune.sweep: the range {field}={text} needs two values or more between two ends that "
            f"differ, and with :log positive ends."
        )
    values = (np.geomspace if log else np.linspace)(first, last, count)
    if kind is int:
        whole: list[Value] = [round(v) for v in values.tolist()]
        if not log and not np.allclose(values, np.round(values)):
            raise ValueError(
                f"config.tune.sweep: {field} takes whole numbers, and the range {text} gives "
                f"{', '.join(f'{v:g}' for v in values)}; choose another count."
            )
        return whole
    return [float(f"{v:.6g}") for v in values]
