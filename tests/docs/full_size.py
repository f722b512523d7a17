"""The documents' commands at the size that they are printed with, each once, and their seconds in docs/times.md.

    python -m tests.docs.full_size                       # some two hours on one core; goes on where it was stopped
    python -m tests.docs.full_size docs/langevin.md      # of some pages

The page is written when all of them have their seconds. Commands run whose data come with the program's requirements or
Debian's Fashion-MNIST; others take data or weights that the reader has, and tests run them at toy size
(test_commands.py, test_first_hour.py).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.report import machine
from tests.docs.pages import PAGES, ROOT, commands, files, flag
from tests.docs.test_commands import BEFORE, LEFT_OUT

WORK = ROOT / "runs/full_size"
TIMES = WORK / "times.json"
FIRST = "README.md"
"""Its digits are trained once: other pages begin with them."""
OURS = ("/digits", "toy/", "/fashion_mnist")
"""Parts of the names of configurations whose data are at hand."""
ELSEWHERE = ("docs/gallery.md", "README.zh.md", "docs/checkpoints.md")
"""Pages whose commands docs/make_gallery.py runs, are another page's, or take the reader's weights."""
THEIRS = ("photo", "my.py", "CONFIG", "FOLDER", "plugins=predictor.py", *LEFT_OUT)
"""Parts of commands that take what the reader has."""
CORE = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
FASHION = Path("/usr/share/datasets/fashion-mnist")


def wanted() -> dict[str, list[str]]:
    """Commands at hand by page, each where it is printed first."""
    found: dict[str, list[str]] = {}
    seen = set[str]()
    for page in PAGES:
        for arguments in commands(page) if page not in ELSEWHERE else ():
            line = shlex.join(arguments).partition(" '>'")[0]
            config = flag(arguments, "--config")
            at_hand = config is None or any(part in f"/{config}" for part in OURS)
            if at_hand and line not in seen and not any(part in line for part in THEIRS):
                found.setdefault(page, []).append(line)
            seen.add(line)
    return found


def prepared(page: str) -> Path:
    """The folder of a page's reader: its files, and what he has trained before."""
    folder = WORK / page.replace("/", "_").removesuffix(".md")
    if folder.is_dir():
        return folder
    folder.mkdir(parents=True)
    (folder / "examples").symlink_to(ROOT / "examples")
    for name, content in files(page).items():
        (folder / name).write_text(content)
    (folder / "data/FashionMNIST").mkdir(parents=True)
    (folder / "data/FashionMNIST/raw").symlink_to(FASHION)
    trained = WORK / FIRST.removesuffix(".md") / "runs/ddpm/digits"
    for line in BEFORE.get(page, ()):
        if "ddpm/digits" in line:
            copy = folder / (flag(line.split(), "--workdir") or "runs/ddpm/digits")
            shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("tune", "control"))
    return folder


def seconds(line: str, folder: Path) -> float:
    """Of the processor, by a command and its processes, with a thread for each.

    Raises:
        CalledProcessError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, ROOT / "main.py", *shlex.split(line)], cwd=folder, env=CORE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def page_of_times(times: Mapping[str, Mapping[str, float]]) -> str:
    lines = [
        "# What commands take",
        "",
        "Seconds of one core for the commands of README and these pages, at the size that they are printed with: each",
        "was run once, in a folder where only what its page says had gone before, by `python -m tests.docs.full_size`,",
        "which writes this page. They are the processor's, which other work on the machine makes more. Commands that",
        "take data or weights of the reader's are not here.",
        "",
        machine(),
    ]
    for page, asked in wanted().items():
        name = page.removeprefix("docs/")
        lines += ["", f"## {name}" if page == FIRST else f"## [{name}]({name})", ""]
        for line in asked:
            flags = " ".join(f"`{one}`" for one in re.split(" (?=--)", line))
            lines.append(f"- {times[page][line]:.0f} s: {flags}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE")
    given = parser.parse_args()
    times: dict[str, dict[str, float]] = json.loads(TIMES.read_text()) if TIMES.is_file() else {}
    failed = []
    for page, lines in wanted().items():
        if given.pages and page not in (FIRST, *given.pages):
            continue
        for line in lines:
            if line not in times.setdefault(page, {}):
                try:
                    times[page][line] = seconds(line, prepared(page))
                except subprocess.CalledProcessError as error:
                    failed.append(f"status {error.returncode}  {page}  {line}")
                    continue
                TIMES.write_text(json.dumps(times, indent=1))
                print(f"{times[page][line]:7.1f}  {page}  {line}", flush=True)
    if failed:
        sys.exit("\n".join(["these failed:", *failed]))
    if all(line in times.get(page, {}) for page, lines in wanted().items() for line in lines):
        torch.set_num_threads(1)  # as the commands had
        (ROOT / "docs/times.md").write_text(page_of_times(times), encoding="utf-8")


if __name__ == "__main__":
    main()
