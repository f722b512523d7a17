"""Numbers as a table: each with its error, below it what real data or a floor would have, and how it was made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from run_lib.evaluation.report import Number
from run_lib.pages.markup import Markup, details, escaped, facts, scrolling, tag
from sde_lib.words import digits


def families(numbers: Iterable[Number]) -> list[tuple[Number, ...]]:
    """Numbers, each followed by its references, which have its name before the slash.

    Of several numbers of such a name the first has the references; references of none stand for themselves.
    """
    found = list(numbers)
    below: dict[str, list[Number]] = {}
    for number in found:
        if number.is_reference:
            below.setdefault(number.family, []).append(number)
    rows = [(number, *below.pop(number.family, ())) for number in found if not number.is_reference]
    return rows + [(number,) for left in below.values() for number in left]


def valued(number: Number) -> str:
    """The value with its 95 % interval, to the digits that the interval leaves."""
    half = number.half
    return plain(number.value) if half is None else interval(number.value, half)


def interval(value: float, half: float) -> str:
    """A value and half of its interval with as many decimals as show two digits of the half."""
    if not math.isfinite(value) or not math.isfinite(half) or half <= 0:
        return plain(value) if half == 0 or math.isnan(half) else f"{plain(value)} \u00b1 {plain(half)}"
    decimals = 1 - math.floor(math.log10(half))
    if decimals > 8 or abs(value) >= 1e7:
        return f"{digits(value, 4)} \u00b1 {digits(half, 2)}"
    shown = max(decimals, 0)
    return f"{round(value, decimals):.{shown}f} \u00b1 {round(half, decimals):.{shown}f}".replace(
        "-", "\u2212"
    )


def plain(value: float) -> str:
    """Four digits."""
    return digits(value, 4).replace("-", "\u2212")


def table_of(numbers: Sequence[Number], label: str) -> Markup:
    """The table of one checkpoint's numbers.

    Args:
        numbers: of one checkpoint under one configuration.
        label: what it is, for those who hear it.
    """
    heads = (("number", None), ("value, 95 %", "number"), ("", None), ("unit", None), ("of", "number"))
    head = tag("tr", *(tag("th", text, scope="col", class_=kind) for text, kind in heads))
    rows = []
    for family in families(numbers):
        rows += [_row(number, family, k > 0) for k, number in enumerate(family)]
    return scrolling(tag("table", tag("thead", head), tag("tbody", *rows), class_="numbers"), label)


def _row(number: Number, family: Sequence[Number], below: bool) -> Markup:
    note = tag("div", number.note, class_="note") if number.note else None
    return tag(
        "tr",
        tag("th", details(number.name, facts(_protocol(number))), note, scope="row"),
        tag("td", valued(number), class_="number"),
        tag("td", _bar(number, family)),
        tag("td", number.unit),
        tag("td", f"{number.count:,}" if number.count else "", class_="number"),
        class_="reference" if below else None,
    )


def _protocol(number: Number) -> list[tuple[str, object]]:
    """Everything on which a number depends, by name."""
    rows: list[tuple[str, object]] = [("value", repr(number.value))]
    for name, value in (
        ("standard error", number.stderr),
        ("of that, images", number.stderr_images),
        ("of that, draws", number.stderr_draws),
        ("of that, probes", number.stderr_probes),
    ):
        if value is not None:
            rows.append((name, digits(value, 4)))
    if number.stderr is None:
        rows.append(("standard error", "it has none"))
    given: dict[str, object] = dict(getattr(number, "protocol", None) or {})
    rows += [
        ("images or samples", f"{number.count:,}" if number.count else ""),
        ("step", number.step),
        ("seed", number.seed),
        ("network evaluations", f"{number.nfe:g} for each" if number.nfe else "none"),
        ("computed in", number.arithmetic),
        ("seconds", tag("span", digits(number.seconds, 3), class_="seconds") if number.seconds else ""),
        ("configuration", tag("code", number.config_hash)),
        ("fingerprint", tag("code", number.fingerprint) if number.fingerprint else ""),
    ]
    return [(name, value) for name, value in (*given.items(), *rows) if escaped(value) not in ("", "None")]


def _bar(number: Number, family: Sequence[Number]) -> Markup | None:
    """The value on a line that is common to a number and its references, with its 95 % interval; None: it has none."""
    ends = [
        number.value + sign * (number.half or 0.0)
        for number in family
        for sign in (-1, 1)
        if math.isfinite(number.value)
    ]
    if len(family) == 1 or not math.isfinite(number.value) or min(ends) == max(ends):
        return None  # there is nothing to be seen beside
    low, span = min(ends), max(ends) - min(ends)
    half = number.half or 0.0

    def place(value: float) -> str:
        return f"{4 + 136 * (value - low) / span:.1f}"

    marks = [
        tag("line", x1=place(one.value), x2=place(one.value), y1=1, y2=19, class_="floor")
        for one in family[1:]
        if number is family[0] and math.isfinite(one.value)
    ]
    whisker = tag("line", x1=place(number.value - half), x2=place(number.value + half), y1=10, y2=10)
    dot = tag("circle", cx=place(number.value), cy=10, r="3.5")
    what = f"{number.name}: {valued(number)}" + (
        f", beside {', '.join(f'{one.name} {plain(one.value)}' for one in family[1:])}" if marks else ""
    )
    return tag("svg", *marks, whisker, dot, viewBox="0 0 144 20", class_="bar", role="img", aria_label=what)
