"""The page of every setting, from the registries that read them and the file of defaults.

python docs/make_settings.py prints it; the site has it as Reference, Every setting.
"""

from __future__ import annotations

import inspect
import operator
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ml_collections import ConfigDict, config_dict

from configs.base import get_config
from run_lib import modes  # noqa: F401 - registers them
from run_lib.config.components import Role
from run_lib.config.listing import without_settings
from run_lib.config.roles import ROLES
from sde_lib.settings import REQUIRED, Setting

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Every setting

This page is made of the program's registries when the site is built. `python main.py --mode list` prints what can
be chosen, and `python main.py --mode list NAME` the settings of one component. A setting is set by
`--config.FIELD=VALUE`, or in a block of the component's own ([modes and settings](../modes.md)).

"""


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join([*_fields(), *_components()]) + "\n"


def _fields() -> Iterator[str]:
    """The fields of configs/base.py, each with its default and what the file says of it."""
    yield "## Fields of no component\n"
    yield "| field | default | |\n|---|---|---|"
    said = _comments()
    for path, value in sorted(_flat(get_config())):
        shown = "unset" if value is None else f"`{value!r}`"
        yield f"| `{path}` | {shown} | {_cell(said.get(path, ''))} |"
    yield ""


def _flat(config: ConfigDict, before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, None if isinstance(value, config_dict.FieldReference) else value


def _comments() -> dict[str, str]:
    """What configs/base.py says of each field: behind its value, or on the lines before."""
    sections = {"config": ""}
    found: dict[str, str] = {}
    above, open_field = "", ""
    for line in (ROOT / "configs/base.py").read_text(encoding="utf-8").splitlines():
        code, _, comment = line.partition("# ")
        if section := re.match(r"    config\.(\w+) = (?:(\w+) = )?ConfigDict", code):
            sections[section[2] or ""] = f"{section[1]}."
        elif field := re.match(r"    (\w+)\.(\w+) = ", code):
            path = sections.get(field[1], f"{field[1]}.") + field[2]
            found[path] = comment or above
            open_field = path if code.rstrip().endswith("(") else ""
        elif open_field and comment:
            found[open_field] = comment
        above = f"{above} {comment}".strip() if comment and not code.strip() else ""
    return found


def _components() -> Iterator[str]:
    for field, roles in _together().items():
        yield f"## {field}\n"
        members = sorted(
            ((name, role) for role in roles for name in role.choices), key=operator.itemgetter(0)
        )
        for name, role in members:
            yield from _component(role, name)


def _component(role: Role, name: str) -> Iterator[str]:
    factory = role.choices[name]
    yield f"### `{name}`\n"
    yield _prose(without_settings(inspect.getdoc(factory) or "")) + "\n"
    settings = list(role.settings(factory))
    if settings:
        yield "| setting | default | allowed | |\n|---|---|---|---|"
        for path, setting in settings:
            yield f"| `{path}` | {_default(setting)} | {_cell(_allowed(setting))} | {_cell(setting.doc)} |"
        yield ""


def _together() -> dict[str, list[Role]]:
    found: dict[str, list[Role]] = {}
    for role in ROLES.values():
        found.setdefault(f"--config.{role.field}" if role.field != "mode" else "--mode", []).append(role)
    return found


def _default(setting: Setting) -> str:
    if setting.default is REQUIRED:
        return "none: to be given"
    return "unset" if setting.default is None else f"`{setting.default}`"


def _allowed(setting: Setting) -> str:
    if setting.choices is not None:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    kind = getattr(setting.type, "__name__", str(setting.type))
    return f"{'' if kind == 'object' else kind} {setting.range or ''}".strip()


def _prose(text: str) -> str:
    """A docstring as Markdown: its code in single quotes of code, its lists and formulas as they stand."""
    text = text.replace("``", "`")
    return re.sub(r"^(Raises|Returns|Attributes):$", r"*\1*", text, flags=re.M).replace("\n    ", "\n\n    ")


def _cell(text: str) -> str:
    text = re.sub(r"docs/(\w+)\.md", r"[\1.md](../\1.md)", text)
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    print(page())
