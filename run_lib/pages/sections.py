"""The sections of a run's page, each of what is there of it; None: nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from run_lib.evaluation.checkpoints import PLOT, Steps, names_of
from run_lib.pages.found import Controlled, Evaluated, Found, Tuned
from run_lib.pages.images import shown, slider
from run_lib.pages.markup import Markup, details, facts, joined, table, tag
from run_lib.pages.numbers import plain, table_of, valued

MOST_CLASSES = 100
"""Classes of which a page has a picture."""
MOST_IMAGES = 50
"""Restored images of which a page has the scores."""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        key: by which links find it.
        title: its heading.
        content: of it.
    """

    key: str
    title: str
    content: Markup

    def __str__(self) -> str:
        heading = tag("h2", self.title, id=self.key)
        return tag("section", heading, self.content, aria_labelledby=self.key)


def sections(found: Found) -> list[Section]:
    """Those of which there is something, in the order of a page."""
    made = ((key, title, make(found)) for key, title, make in _SECTIONS)
    return [Section(key, title, content) for key, title, content in made if content is not None]


def summary(found: Found) -> list[tuple[str, object]]:
    """What was run, in a few names."""
    record = found.training or found.sampling
    components, sections = _of(record, "components"), ("data", "model", "training", "sampling")
    data, model, training, sampling = (_of(record, section) for section in sections)

    def name(role: str) -> str:
        return str(_of(components, role).get("name") or "")

    steps = _of(components, "method").get("num_steps") or sampling.get("num_steps")
    sampler = [name("method") if name("method") != "pc" else "", name("predictor")]
    sampler += [name("corrector") if name("corrector") != "none" else "", f"{steps} steps" if steps else ""]
    guidance = name("guidance") or str(_of(record, "guidance").get("name", ""))
    rows = [
        ("data", name("data set") or data.get("dataset", "")),
        ("network", name("network") or model.get("name", "")),
        ("process", name("sde") or training.get("sde", "")),
        ("training", f"to step {training['n_iters']:,}" if isinstance(training.get("n_iters"), int) else ""),
        ("sampler", ", ".join(part for part in sampler if part)),
        ("guidance", guidance if guidance != "none" else ""),
        ("seed", record.get("seed", "")),
    ]
    return [(what, value) for what, value in rows if str(value)]


def _of(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def _numbers(found: Found) -> Markup | None:
    parts = [_evaluation(one, found) for one in found.evaluated]
    return joined(*parts) if parts else None


def _evaluation(one: Evaluated, found: Found) -> Markup:
    name, groups = one.folder.relative_to(found.workdir).as_posix(), one.groups()
    parts: list[Markup] = []
    for key, steps in reversed(groups.items()):
        *earlier, last = steps
        of = f", configuration {key}" if len(groups) > 1 else ""
        parts.append(tag("h3", f"{name}: checkpoint of step {last:,}{of}"))
        parts.append(table_of(steps[last], f"Numbers of step {last}"))
        if lost := one.report.lost(last, key, steps[last][-1].fingerprint):
            things = [tag("li", str(image)) for image in lost]
            parts.append(
                tag(
                    "div",
                    details(f"{len(lost)} are missing from a number", tag("ul", *things)),
                    class_="warning",
                )
            )
        parts += [
            details(f"step {step:,}", table_of(steps[step], f"Numbers of step {step}"))
            for step in reversed(earlier)
        ]
    return joined(*parts)


def _checkpoints(found: Found) -> Markup | None:
    parts: list[Markup] = []
    for one in found.evaluated:
        name = one.folder.relative_to(found.workdir).as_posix()
        if (path := one.folder / PLOT).is_file():
            what = f"Each number of {name} against the step of the checkpoint, with 95 % intervals"
            parts.append(shown(path, what, within=found.workdir))
        for steps in one.groups().values():
            if len(steps) > 1:
                parts.append(_by_step(steps, f"Numbers of {name} by checkpoint"))
    return joined(*parts) if parts else None


def _by_step(steps: Steps, label: str) -> Markup:
    names = names_of(steps)
    rows = []
    for step, numbers in steps.items():
        held = {number.name: valued(number) for number in numbers}
        rows.append([f"{step:,}", *(held.get(name, "") for name in names)])
    return table(["step", *names], rows, label, numeric=frozenset(range(1, len(names) + 1)))


def _samples(found: Found) -> Markup | None:
    parts: list[Markup] = []
    if (path := found.samples / "samples.png").is_file():
        caption = "samples"
        if (of := found.sampled) is not None:
            each = f"{of.nfe:g} network evaluations each, checkpoint of step {of.step:,}"
            caption = f"the first of {of.count:,} samples, {each}"
        parts.append(shown(path, f"Grid of samples: {caption}", caption, within=found.workdir))
    for one in found.evaluated:
        pictures = [path for path in one.pictures if path not in one.nearest]
        pictured = [
            shown(path, f"Samples that were measured, {path.stem}", within=found.workdir)
            for path in pictures[:12]
        ]
        if pictured and not parts:
            parts.append(pictured.pop(0))
        if pictured:
            parts.append(details(f"samples that {one.folder.name} measured", *pictured))
    return joined(*parts) if parts else None


def _trajectory(found: Found) -> Markup | None:
    frames = found.frames
    if not frames:
        return None
    told = tag("p", "From noise to samples: states of the sampler at evenly spaced steps.")
    return joined(told, slider(frames, "State of the sampler", within=found.workdir))


def _classes(found: Found) -> Markup | None:
    strips, names = found.strips, found.classes
    if not strips:
        return None
    figures = []
    for number, path in sorted(strips.items())[:MOST_CLASSES]:
        name = names[number] if number < len(names) else str(number)
        name = name if name == str(number) else f"{name} ({number})"
        figures.append(shown(path, f"Samples of class {name}", name, within=found.workdir))
    rest = len(strips) - len(figures)
    more = tag("p", f"{rest} more classes are in {found.samples / 'classes'}.") if rest else None
    return joined(tag("div", *figures, class_="classes"), more)


def _neighbours(found: Found) -> Markup | None:
    parts = [
        shown(
            path,
            f"Samples above the images of the reference that are nearest to them: {path.stem}",
            within=found.workdir,
        )
        for one in found.evaluated
        for path in one.nearest
    ]
    return joined(*parts) if parts else None


def _loss(found: Found) -> Markup | None:
    path = found.workdir / "loss.png"
    if not path.is_file():
        return None
    return shown(path, "Loss against the step, in training and on held-out data", within=found.workdir)


def _tuned(found: Found) -> Markup | None:
    parts = [_sweep(one, found) for one in found.tuned]
    return joined(*parts) if parts else None


def _sweep(one: Tuned, found: Found) -> Markup:
    hidden = ("by_seed", "lost", "failed", "best", "as good as the best", "seconds")
    heads = [str(key) for key in one.rows[0] if key not in hidden]
    rows = []
    for row in one.rows:
        word = "failed" if row.get("failed") else "best" if row.get("best") else ""
        word = word or ("as good" if row.get("as good as the best") else "")
        rows.append([*(_cell(row.get(head)) for head in heads), word])
    best = ", ".join(f"{name}={value}" for name, value in one.best.items())
    numeric = frozenset(range(1, len(heads)))
    return joined(
        tag("h3", one.folder.relative_to(found.workdir).as_posix()),
        tag(
            "p",
            f"Best by {one.ranked_by}: ",
            tag("strong", best),
            f". Intervals of {100 * one.confidence:g} %; {one.intervals}.",
        ),
        *(
            shown(one.folder / name, alt, within=found.workdir)
            for name, alt in (
                ("plot.png", "Each score against the setting, with intervals"),
                ("picture.png", "Samples of the same seeds, a column for each setting"),
            )
            if (one.folder / name).is_file()
        ),
        details("table", table([*heads, ""], rows, "Scores of each setting", numeric=numeric)),
    )


def _cell(value: object) -> object:
    return plain(value) if isinstance(value, float) else "" if value is None else value


def _controlled(found: Found) -> Markup | None:
    parts = [_restored(one, found) for one in found.controlled]
    return joined(*parts) if parts else None


def _restored(one: Controlled, found: Found) -> Markup:
    names = {"psnr": "PSNR, dB", "ssim": "SSIM", "residual": "residual", "nfe": "evaluations"}
    heads = ["", *names.values()]
    rows: list[list[object]] = [["mean of the results", *(_cell(one.mean.get(key)) for key in names)]]
    if any(value is not None for value in one.measurement.values()):
        rows.append(["the measurement as it is", *(_cell(one.measurement.get(key)) for key in names)])
    numeric = frozenset(range(1, len(heads)))
    images = [[image.get("image"), *(_cell(image.get(key)) for key in names)] for image in one.images]
    what = one.folder.relative_to(found.workdir).as_posix()
    return joined(
        tag("h3", what),
        shown(
            one.folder / "grid.png",
            f"Inputs beside their results, a row for each: {what}",
            within=found.workdir,
        )
        if (one.folder / "grid.png").is_file()
        else None,
        table(heads, rows, f"Scores of {what}", numeric=numeric),
        tag("p", f"{one.skipped} images could not be read.", class_="warning") if one.skipped else None,
        details(
            "image by image"
            if len(images) <= MOST_IMAGES
            else f"the first {MOST_IMAGES} of {len(images)} images",
            table(heads, images[:MOST_IMAGES], f"Scores of {what}, image by image", numeric=numeric),
        ),
    )


def _settings(found: Found) -> Markup | None:
    if not (settings := found.settings):
        return None
    lines = [tag("li", tag("code", f"{name} = {value}")) for name, value in settings.items()]
    return details(f"all {len(lines)} settings on record", tag("ul", *lines, class_="settings"))


def _unread(found: Found) -> Markup | None:
    return tag("ul", *(tag("li", line) for line in found.unread), class_="warning") if found.unread else None


def _run(found: Found) -> Markup | None:
    rows = summary(found)
    return facts(rows) if rows else None


_SECTIONS: tuple[tuple[str, str, Callable[[Found], Markup | None]], ...] = (
    ("run", "What was run", _run),
    ("numbers", "Numbers", _numbers),
    ("checkpoints", "Checkpoints", _checkpoints),
    ("samples", "Samples", _samples),
    ("trajectory", "Trajectory", _trajectory),
    ("classes", "By class", _classes),
    ("neighbours", "Nearest neighbours", _neighbours),
    ("loss", "Loss", _loss),
    ("tuning", "Tuning", _tuned),
    ("control", "Control", _controlled),
    ("settings", "Settings", _settings),
    ("unread", "Not read", _unread),
)
