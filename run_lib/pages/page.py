"""``report.html``, the page of a run: what lies in its work directory, in one file."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from run_lib.evaluation.report import IncompleteError
from run_lib.faults import MachineError
from run_lib.files import atomic
from run_lib.pages.found import Found
from run_lib.pages.markup import Markup, joined, link, tag
from run_lib.pages.sections import Section, sections, summary
from run_lib.pages.style import SCRIPT, STYLE
from run_lib.processes import Processes
from sde_lib.finite import NotFiniteError

REPORT = "report.html"
MARK = '<meta name="generator" content="score-pc page">'
"""By this pages of ours are told from others'."""
_HEAD = 2**12
_FOOTER = (
    "Written by score-pc. Values have 95 % intervals where they have an error; the name of a number opens what it "
    "depends on."
)
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_page(workdir: Path) -> Path:
    """Write the page of a run from what lies in its work directory; returns its path.

    Raises:
        ValueError: a file of somebody else's has its name; the folder cannot be read or written.
        MachineError: the disk is full, or fails.
    """
    path = workdir / REPORT
    check_page(path)
    put(path, page_text(workdir))
    return path


def page_text(workdir: Path) -> str:
    """The page of a run from what lies in its work directory.

    Raises:
        ValueError: the folder cannot be read.
    """
    found = Found.of(workdir)
    told = dict(summary(found))
    title = " \u00b7 ".join(str(told[key]) for key in ("data", "network", "process") if key in told)
    name = workdir.resolve().name
    return page(title or name, f"Run {name}", sections(found), command())


def command() -> Markup:
    """The command that wrote the page."""
    words = ["python", *sys.argv] if sys.argv and sys.argv[0].endswith(".py") else sys.argv
    return tag("pre", tag("code", shlex.join(words), class_="command"), aria_label="Command")


def page(title: str, eyebrow: str, parts: Sequence[Section], opening: Markup | None = None) -> str:
    """A page as text.

    Args:
        title: its heading.
        eyebrow: above the heading, what kind of page it is.
        parts: its sections.
        opening: below the heading.
    """
    contents = tag("ul", *(tag("li", link(part.title, f"#{part.key}")) for part in parts))
    body = joined(
        tag("header", tag("p", eyebrow, class_="eyebrow"), tag("h1", title), opening,
            tag("nav", contents, aria_label="Contents")),
        tag("main", *(Markup(str(part)) for part in parts)),
        tag("footer", _FOOTER),
        tag("script", Markup(SCRIPT)),
    )  # fmt: skip
    head = joined(
        Markup('<meta charset="utf-8">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        Markup(MARK),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", f"{title} \u2013 {eyebrow}"),
        tag("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def put(path: Path, text: str) -> None:
    """Write a page, whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_page(path: Path) -> None:
    """Refuse to write a page in the place of what is none of ours.

    Raises:
        ValueError: there is such a file, or a link.
    """
    if not os.path.lexists(path):
        return
    theirs = path.is_symlink() or not path.is_file()
    if not theirs:
        with path.open("rb") as file:
            theirs = MARK.encode() not in file.read(_HEAD)
    if theirs:
        raise ValueError(
            f"{path} is no page of ours, and is not overwritten: move it, or take another --workdir."
        )


@contextmanager
def page_after(path: Path, write: Callable[[], Path]) -> Iterator[None]:
    """Write a page when the work in the block is done, also where numbers of it are incomplete.

    The first process writes it. The results of the work are written before, and stay where the page cannot be.

    Args:
        path: of the page; what is there must be ours, which is known before the work.
        write: writes it, and returns its path.

    Raises:
        ValueError, MachineError: the page cannot be written.
    """
    check_page(path)
    try:
        yield
    except (IncompleteError, NotFiniteError):
        if Processes.from_environment().is_main:
            try:
                print(f"page: {write()}")
            except (ValueError, OSError, MachineError) as error:  # the status tells of the numbers
                print(f"warning: there is no page of the run: {error}", file=sys.stderr)
        raise
    if Processes.from_environment().is_main:
        print(f"page: {write()}")


@contextmanager
def reported(workdir: Path) -> Iterator[None]:
    """Write ``report.html`` of a work directory when the work in the block is done, as ``page_after`` does."""
    with page_after(workdir / REPORT, lambda: write_page(workdir)):
        yield
