"""Hooks of the site (mkdocs.yml): pages that are made of the code, links to files beside docs/, equations.

- The library's pages, every setting, the example plugins, the tutorials of their notebooks, and the texts of the
  repository's root are made here.
- A link of a page to a file of the repository leads to the page that the site has of it.
- Equations become MathML, which browsers draw by themselves: a page asks no network for anything.
"""

from __future__ import annotations

import posixpath
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

from make_settings import page as settings_page
from tutorial_pages import tutorial_pages

ROOT = Path(__file__).resolve().parent.parent
TEXTS = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "reference/changelog.md",
    "benchmarks/RESULTS.md": "reference/results.md",
    "tests/mutation/SURVIVORS.md": "reference/survivors.md",
}
"""Texts of the repository outside docs/, and the pages that the site makes of them."""

EXAMPLES = "reference/examples.md"
PACKAGES = {
    "sde_lib": "Forward processes, time grids, noise, integrators",
    "models": "Networks, exact scores, models of a process, published weights",
    "samplers": "The predictor-corrector loop, predictors, correctors, guidance, inverse problems",
    "losses": "Training objectives",
    "likelihood": "Log-likelihoods and bits per dimension",
}
LINK = re.compile(r"(?<=\]\()(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    pages: dict[str, str | bytes] = {
        made: (ROOT / source).read_text(encoding="utf-8") for source, made in TEXTS.items()
    }
    pages[EXAMPLES] = _examples()
    pages["reference/settings.md"] = settings_page()
    pages |= {f"reference/{name}.md": _library(name, about) for name, about in PACKAGES.items()}
    pages |= tutorial_pages()
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Leads links to files of the repository to the pages of the site."""
    uri = page.file.src_uri
    source = next((source for source, made in TEXTS.items() if made == uri), f"docs/{uri}")

    def led(match: re.Match[str]) -> str:
        target, anchor = match["target"], match["anchor"] or ""
        if ":" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path.startswith("examples/plugins/"):
            anchor = f"#{Path(path).stem}"
            path = f"docs/{EXAMPLES}"
        elif path in TEXTS:
            path = f"docs/{TEXTS[path]}"
        elif path.startswith("docs/tutorials/"):
            path = str(Path(path).with_suffix(".md")) if path.endswith(".ipynb") else path
        if not path.startswith("docs/"):
            raise PluginError(f"{source}: the site has no page of {path}, to which a link leads.")
        here = posixpath.dirname(uri) or "."
        return posixpath.relpath(path.removeprefix("docs/"), here) + anchor

    return LINK.sub(led, markdown)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Draws equations: those that a page writes in LaTeX, and the symbols in docstrings."""
    html = re.sub(
        r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>',
        lambda found: _drawn(found[2], block=found[1] == "div"),
        html,
        flags=re.S,
    )
    made = page.file.src_uri.removeprefix("reference/").removesuffix(".md")
    return _symbols_drawn(html) if made in {*PACKAGES, "settings"} else html


def _drawn(latex: str, *, block: bool) -> str:
    math = convert(unescape(latex).strip(), display="block" if block else "inline")
    math = re.sub(r'<mi mathvariant="(double-struck|script)">([A-Z])</mi>', _letter, math)
    # MathML has no space behind a function's name; TeX has, but before a parenthesis.
    return re.sub(r"<mi>log</mi>(?!<mo[^>]*>&#x00028;)", r'<mi>log</mi><mspace width="0.17em"/>', math)


def _letter(found: re.Match[str]) -> str:
    """A letter of an alphabet of its own: browsers know no ``mathvariant`` but for ``normal``."""
    name = f"{found[1].upper()} CAPITAL {found[2]}"
    try:
        letter = unicodedata.lookup(f"MATHEMATICAL {name}")
    except KeyError:  # some of them were there before the others
        letter = unicodedata.lookup(name)
    return f"<mi>{letter}</mi>"


def _examples() -> str:
    about = "A file for each kind of component: [contributing](../contributing.md) has the table."
    lines = ["# Example plugins", "", about, ""]
    for file in sorted((ROOT / "examples/plugins").glob("*.py")):
        code = file.read_text(encoding="utf-8").strip()
        lines += [f"## {file.name} {{#{file.stem}}}", "", "```python", code, "```", ""]
    return "\n".join(lines)


def _library(name: str, about: str) -> str:
    """A package's page: each public name, in the groups of its ``__init__``."""
    lines = [f"# {name}", "", f"{about}. What is imported from `{name}` is all that is public.", ""]
    for group, members in _groups((ROOT / name / "__init__.py").read_text(encoding="utf-8")):
        lines += [f"## {group}", ""]
        for member in members:
            lines += [f"::: {name}.{member}", ""]
    return "\n".join(lines)


def _groups(source: str) -> Iterator[tuple[str, list[str]]]:
    """The names of ``__all__``, under the comments that group them."""
    group, members = "", list[str]()
    before, _, listed = source.partition("\n__all__")
    lines = [before.splitlines()[-1], *listed.splitlines()]
    for line in lines:
        if found := re.match(r"\s*# (?P<comment>.+)", line):
            if members:
                yield group, members
            comment = found["comment"].rstrip(".")
            group, members = (
                comment if comment.startswith("score_sde") else comment[0].upper() + comment[1:],
                [],
            )
        elif line and not re.match(r"[\s\]]|__all__| \+?=| =|.*= \[", line):
            break
        else:
            members += re.findall(r'"(\w+)"', line)
    if members and group != "Subpackages":
        yield group, members


GREEK = "alpha|beta|gamma|sigma|lambda|eps|epsilon|rho|tau|theta"
SYMBOL = re.compile(
    rf"(?<![\w.\\-])(?P<base>{GREEK}|[A-Za-z](?=[_^]))"
    r"(?:_(?P<below>\w{1,2}|min|max|data|mean))?"
    r"(?:\^(?P<above>\d|\w|\([^()\s]{1,7}\)))?(?![\w.-]|\(=)"
)
SKIPPED = {"code", "pre", "a", "h1", "h2", "h3", "h4", "math"}


def _symbols_drawn(html: str) -> str:
    """Symbols such as sigma_t^2 in the text of docstrings as mathematics; code, links and headings as they are."""
    parts, skipping = re.split(r"(<[^>]*>)", html), list[str]()
    for i, part in enumerate(parts):
        if part.startswith("<"):
            name = re.match(r"</?(\w*)", part)
            if name and name[1] in SKIPPED:
                (skipping.pop if part.startswith("</") else _pushing(skipping, name[1]))()
        elif not skipping:
            parts[i] = SYMBOL.sub(_symbol, part)
    return "".join(parts)


def _pushing(stack: list[str], name: str) -> Callable[[], None]:
    return lambda: stack.append(name)


def _symbol(found: re.Match[str]) -> str:
    base, below, above = found["base"], found["below"], found["above"]
    latex = {"eps": r"\epsilon"}.get(base, f"\\{base}" if len(base) > 1 else base)
    if below:
        latex += f"_{{{below}}}" if len(below) <= 2 else f"_{{\\mathrm{{{below}}}}}"
    if above:
        latex += f"^{{{above.strip('()')}}}"
    return convert(latex)
