"""README, its Chinese counterpart and the pages of docs/: links lead somewhere, commands and code are right."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from run_lib import modes  # noqa: F401 - registers them
from run_lib.config.command_line import configure, parse
from run_lib.config.configuration import base_fields
from run_lib.config.files import load_config_file
from run_lib.config.mode import register_mode
from run_lib.config.roles import ROLES
from tests.conftest import plugins_forgotten
from tests.docs.pages import PAGES, blocks, commands, files, flag, prose

ROOT = Path(__file__).parents[1]
LIBRARY = ("sde_lib", "models", "samplers", "losses", "likelihood")
READERS_OWN = {
    *("CONFIG", "NAME", "imagenet.py", "mine.py", "my.py"),
    *("my_config.py", "my_diffusers.py", "my_edm.py", "my_guided.py"),
}
"""Configurations that a page's reader has, and this repository has not."""

# What a page refers to is there.


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(page)):
        assert ":" in target or (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_code_fits_the_column_that_it_is_read_in(page: str) -> None:
    """Beside both lists of contents the site shows 95 characters, and cuts off what is longer."""
    code = blocks(page, "python", "bash", "sh") + [b for b in blocks(page, "text") if "main.py " in b]
    assert not [line for block in code for line in block.splitlines() if len(line) > 95]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_on_the_site(page: str) -> None:
    """A page that the navigation lacks is found by nobody; mkdocs itself only says so."""
    if page.startswith("docs/"):
        assert f" {page.removeprefix('docs/')}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_of_this_program(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode is registered, its configuration is shipped, and every field exists and takes the value."""
    for path in ("configs", "examples"):
        (tmp_path / path).symlink_to(ROOT / path)
    monkeypatch.chdir(tmp_path)
    for name, content in files(page).items():
        Path(name).write_text(content)
    with plugins_forgotten():
        for arguments in commands(page):
            mode, config = flag(arguments, "--mode"), flag(arguments, "--config")
            assert mode is None or mode in register_mode, arguments
            assert not [a for a in arguments if a.startswith("$")], "a variable that the page does not define"
            overrides = [argument for argument in arguments if argument.startswith("--config.")]
            if config in READERS_OWN or any(Path(o.partition("=")[2]).suffix == ".json" for o in overrides):
                continue
            plugin = next((o.partition("=")[2] for o in overrides if o.startswith("--config.plugins=")), None)
            if plugin is None or Path(plugin).exists():
                configure(load_config_file(config or "base"), parse(["main.py", *overrides]))


@pytest.mark.parametrize("page", PAGES)
def test_python_compiles_and_imports_what_there_is(page: str) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.split(".")[0] in (*LIBRARY, "run_lib")
            ):
                module = importlib.import_module(node.module)
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []


def test_the_table_of_modes_has_every_mode() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGES["docs/modes.md"].split("## Flags")[0], re.M)
    assert sorted(rows) == sorted(register_mode)


def test_the_page_of_settings_has_every_field_and_component() -> None:
    """And what configs/base.py says of a field behind it, before it, and inside its value."""
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs/make_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page()
    assert [field for field in base_fields() if f"\n| `{field}` |" not in page] == []
    for role in ROLES.values():
        assert [name for name in role.choices if f"\n### `{name}`\n" not in page] == []
    assert "| `seed` | `42` |  |" in page
    assert "| `data.levels` | `256` | values of a pixel; 0: continuous data |" in page
    assert "| `ema.std` | `(0.05, 0.1)` | relative widths of the averages to make |" in page
    assert "| `model.ema_stds` | `()` | relative widths, such as (0.05, 0.10), of averages" in page
    assert "| `data.num_workers` | unset | that read training data;" in page


# README.


def test_readme_is_short() -> None:
    assert len(PAGES["README.md"].split()) <= 1300


def without_comments(block: str) -> str:
    return re.sub(r"  # .*", "", block)


def test_both_readmes_have_the_same_commands_and_examples() -> None:
    kinds = ("bash", "text", "python")
    english, chinese = blocks("README.md", *kinds), blocks("README.zh.md", *kinds)
    assert [without_comments(b) for b in english] == [without_comments(b) for b in chinese]


def test_both_readmes_have_the_same_numbers_links_and_code() -> None:
    """In each section: order within a sentence is the language's."""
    english, chinese = (
        re.split(r"^## .*$", prose(page), flags=re.M) for page in ("README.md", "README.zh.md")
    )
    assert len(english) == len(chinese)
    for ours, theirs in zip(english, chinese, strict=True):
        for pattern in (r"\d+(?:\.\d+)?", r"`([^`]+)`", r"\]\(((?!README)[^)]+)\)"):
            assert sorted(re.findall(pattern, ours)) == sorted(re.findall(pattern, theirs))


# The library.


def public(package: str) -> Iterator[tuple[str, Any]]:
    """Every public name, and of classes every public function and property that they define."""
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield name, thing
        for member, value in vars(thing).items() if inspect.isclass(thing) else ():
            inside = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if not member.startswith("_") and inspect.isfunction(inside):
                yield f"{name}.{member}", getattr(thing, member)


@pytest.mark.parametrize("package", LIBRARY)
def test_everything_public_has_a_docstring(package: str) -> None:
    """Its own, or for a method that of the interface which it implements."""
    assert [name for name, thing in public(package) if not inspect.getdoc(thing)] == []
