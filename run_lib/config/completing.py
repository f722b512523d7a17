"""What a shell completes a command line with: ``--mode completion bash`` or ``zsh`` prints a script of its own.

The script holds every mode, field and choice, so that completing runs nothing but the shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from run_lib.config.configuration import base_fields, known_fields
from run_lib.config.fields import declared_fields
from run_lib.config.mode import register_mode
from run_lib.config.roles import ROLES
from sde_lib.registry import unknown_name

ROOT = Path(__file__).parents[2]
SHELLS = ("bash", "zsh")
FLAGS = ("--config", "--mode", "--workdir", "--eval_folder", "--quiet", "--traceback", "--help")
WORDS = {"describe": ("layers",), "completion": SHELLS}
"""Words that may follow a mode, beside the components of ``--mode list``."""


def script(words: Sequence[str]) -> str:
    """The script of a shell.

    Raises:
        ValueError: no shell is named, or one that there is no script for.
    """
    if len(words) != 1:
        raise ValueError(
            f"--mode completion takes the name of a shell, {' or '.join(SHELLS)}, and was given {len(words)} words: "
            f"python main.py --mode completion bash > ~/.score-pc.bash, and source it in ~/.bashrc."
        )
    (shell,) = words
    if shell not in SHELLS:
        raise ValueError(unknown_name("shell", shell, list(SHELLS)))
    held = {
        "flags": _lines(FLAGS),
        "modes": _lines(list(register_mode)),
        "configs": _lines(_shipped()),
        "fields": _lines(_fields()),
        "components": _lines(sorted({name for role in ROLES.values() for name in role.choices})),
        "values": "\n".join(_cases(_values())),
        "words": "\n".join(_cases(WORDS.items())),
    }
    text = "\n".join(
        (ROOT / "run_lib" / "shells" / name).read_text(encoding="utf-8")
        for name in ("candidates.sh", f"adapter.{shell}")
    )
    for name, lines in held.items():
        text = text.replace(f"@{name}@", lines)
    return text


def _lines(names: Sequence[str]) -> str:
    return "\n".join(names)


def _shipped() -> list[str]:
    """Configurations by their short names, ``ddpm/digits``."""
    root = ROOT / "configs"
    found = (path.relative_to(root) for path in root.glob("*/*.py"))
    return sorted(
        str(path.with_suffix("")) for path in found if path.stem != "__init__" and path.parts[0] != "shared"
    )


def _fields() -> list[str]:
    """Every field with its section."""
    alone = {field for field in base_fields() if "." not in field}
    return sorted(
        alone | {f"{section}.{name}" for section, names in known_fields().items() for name in names}
    )


def _values() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The fields that are choices, each with what may be chosen."""
    found: dict[str, set[str]] = {}
    for path, setting in declared_fields().items():
        found.setdefault(path, set()).update(_choices(setting.choices, setting.type))
    for role in ROLES.values():
        for factory in map(role.choices.__getitem__, role.choices):
            for path, setting in role.settings(factory):
                found.setdefault(path, set()).update(_choices(setting.choices, setting.type))
        if role.field != "mode" and not role.switch:
            found.setdefault(role.field, set()).update(role.choices)
    for path, values in sorted(found.items()):
        if values:
            yield path, tuple(sorted(values))


def _choices(choices: Sequence[object] | None, kind: object) -> Iterator[str]:
    if kind is bool:
        yield from ("True", "False")
    elif choices is not None:
        yield from (str(choice) for choice in choices if str(choice).strip())


def _cases(entries: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Branches of a shell's ``case``, which print a line for each value."""
    for name, values in entries:
        yield f"    {name}) printf '%s\\n' {shlex.join(values)} ;;"
