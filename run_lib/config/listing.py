"""What can be chosen in a configuration, as text: ``--mode list``."""

from __future__ import annotations

import inspect
import operator
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from run_lib.config.components import Role
from run_lib.config.roles import ROLES
from sde_lib.registry import snake_case, unknown_name
from sde_lib.settings import REQUIRED, Setting

WIDTH = 110


def listing(names: Sequence[str]) -> str:
    """Every role with its members, a line each; or, of each name, the component's settings and its docstring.

    Raises:
        ValueError: a name that no role has.
    """
    if names:
        return "\n\n".join(describe_component(name) for name in names)
    lines = []
    for roles in _together():
        role = roles[0]
        lines.append(_heading(role))
        members = [(name, role.choices[name]) for role in roles for name in role.choices]
        width = max((len(name) for name, _ in members), default=0)
        lines += [
            f"  {name:<{width}}  {_first_sentence(factory)}"
            for name, factory in sorted(members, key=operator.itemgetter(0))
        ]
        lines.append("")
    lines.append("The settings of one of them: --mode list NAME")
    return "\n".join(lines)


def describe_component(name: str) -> str:
    """What a component is, and its settings with their fields, defaults, ranges and documentation.

    Raises:
        ValueError: no component has the name.
    """
    found = [role for role in ROLES.values() if name in role.choices]
    if not found:
        known = sorted({member for role in ROLES.values() for member in role.choices})
        raise ValueError(unknown_name("component", name, known))
    return "\n\n".join("\n".join(_described(role, snake_case(name))) for role in found)


def _described(role: Role, name: str) -> Iterator[str]:
    factory = role.choices[name]
    yield f"{_flag(role)}" if role.switch else f"{_flag(role)}={name}"
    yield ""
    yield textwrap.indent(without_settings(inspect.getdoc(factory) or ""), "  ")
    settings = list(role.settings(factory))
    if not settings:
        yield "\n  It has no settings."
        return
    yield "\n  Settings:"
    for path, setting in settings:
        yield f"    --config.{path}={_default(setting)}    {_allowed(setting)}".rstrip()
        if setting.doc:
            yield textwrap.fill(
                setting.doc, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8, break_long_words=False
            )
    if any(path.startswith(f"{role.section}.") for path, _ in settings):
        yield f"  Each can be set in a block of its own, too: --config.{role.section}.{name}.<setting>"


def without_settings(docstring: str) -> str:
    """A docstring without its section ``Args:``, which the list of settings repeats."""
    before, _, after = docstring.partition("\nArgs:\n")
    rest = [line for line in after.splitlines() if line and not line.startswith(" ")]
    section = after[after.index(rest[0]) :] if rest else ""
    return f"{before.rstrip()}\n\n{section}".rstrip()


def _together() -> list[list[Role]]:
    """The roles that one field chooses stand in one list, and switches of one kind."""
    found: dict[str, list[Role]] = {}
    for role in ROLES.values():
        found.setdefault(role.choices.kind if role.switch else role.field, []).append(role)
    return list(found.values())


def _heading(role: Role) -> str:
    """The flag that makes the choice, with NAME where the component's name is part of it."""
    name = next(iter(role.choices), "")
    return _flag(role).removesuffix(name) + "NAME" if role.switch else _flag(role)


def _flag(role: Role) -> str:
    return "--mode" if role.field == "mode" else f"--config.{role.field}"


def _first_sentence(component: Any) -> str:
    text = " ".join((inspect.getdoc(component) or "").split("\n\n")[0].split())
    return textwrap.shorten(text, WIDTH - 30, placeholder=" ...")


def _default(setting: Setting) -> str:
    if setting.default is REQUIRED:
        return "<no default>"
    return "<unset>" if setting.default is None else str(setting.default)


def _allowed(setting: Setting) -> str:
    if setting.choices is not None:
        return " | ".join(map(str, setting.choices))
    kind = getattr(setting.type, "__name__", str(setting.type))
    within = f" {setting.range}" if setting.range is not None and str(setting.range) else ""
    return f"{'' if kind == 'object' else kind}{within}"
