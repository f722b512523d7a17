"""The gallery: its page is its script's, so that the commands that are printed are those that made the pictures."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from run_lib import modes  # noqa: F401 - registers them
from run_lib.config.command_line import configure, parse
from run_lib.config.files import load_config_file
from run_lib.config.mode import register_mode

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MOST_BYTES = 1_500_000


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


gallery = script("make_gallery")
PICTURES = {picture.file: picture for section in gallery.SECTIONS for picture in section.pictures}


def test_the_page_is_the_scripts() -> None:
    """If this fails: python docs/make_gallery.py."""
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == gallery.page()


def test_the_page_prints_every_command_as_it_is_run() -> None:
    printed = re.findall(r"^```text\n(.*?)^```$", gallery.page(), re.M | re.S)
    lines = "".join(printed).replace("\\\n", " ").splitlines()
    run = [command for section in gallery.SECTIONS for command in section.commands]
    assert [shlex.split(line) for line in lines] == [
        ["python", "main.py", *shlex.split(command)] for command in run
    ]
    assert max(map(len, "".join(printed).splitlines())) <= gallery.WIDTH


@pytest.mark.parametrize("section", gallery.SECTIONS, ids=lambda section: section.name)
def test_every_command_is_one_of_the_program(section: object) -> None:
    """Its mode is registered, its configuration is shipped, and every field takes its value."""
    for command in section.commands:  # type: ignore[attr-defined]
        arguments = shlex.split(command)
        assert arguments[arguments.index("--mode") + 1] in register_mode
        config = load_config_file(arguments[arguments.index("--config") + 1])
        configure(config, parse(["main.py", *(a for a in arguments if a.startswith("--config."))]))


@pytest.mark.parametrize("section", gallery.SECTIONS, ids=lambda section: section.name)
def test_every_picture_is_in_a_work_directory_of_its_section(section: object) -> None:
    """A picture that no command of the section writes could not be made anew; nor a network that no section trains."""
    work = {gallery.workdir(command) for command in section.commands}  # type: ignore[attr-defined]
    for picture in section.pictures:  # type: ignore[attr-defined]
        assert any(picture.made.startswith(f"{folder}/") for folder in work), picture.made
    trained = {
        gallery.workdir(command)
        for other in gallery.SECTIONS
        if other is section or other.name in section.needs  # type: ignore[attr-defined]
        for command in other.commands
        if "--mode train " in command
    }
    taken = re.findall(r"init_from=(\S+)/checkpoints/", " ".join(section.commands))  # type: ignore[attr-defined]
    assert set(taken) <= trained


@pytest.mark.parametrize("file", PICTURES)
def test_every_picture_is_there_and_shows_something(file: str) -> None:
    with Image.open(DOCS / file) as picture:
        assert min(picture.size) >= 100
        assert len(set(picture.convert("L").tobytes())) > 1


def test_pictures_are_small_and_none_is_left_over() -> None:
    kept = sorted((DOCS / "gallery").iterdir())
    assert [f"gallery/{path.name}" for path in kept] == sorted(
        f for f in PICTURES if f.startswith("gallery/")
    )
    assert sum(path.stat().st_size for path in kept) < MOST_BYTES
