"""Odd JSON: nested too deeply, not finite, of wrong types, naming code or places to write to."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

from tests.fuzz.canary import MODULE, RAN

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1e400, float("nan"), -1e-300, "", "x", "nan", "é", "\ud800", "\0",
    "a" * 10**5, [], {}, [[]], [1, [2, [3]]], {"a": {"b": 1}}, RAN, MODULE, "../../x", "/etc/passwd",
    [None], [float("inf")], "__import__('os')", "1_0",
)  # fmt: skip
NAMES = (
    "plugins",
    "output",
    "path",
    "folder",
    "classifier_config",
    "guide",
    "guide_config",
    "x",
    "",
    "é",
    "__class__",
    "name",
    "num_steps",
    "a.b",
)


def _value(draw: random.Random) -> Any:
    """A value of its own: what is changed in it is not changed in the table."""
    return copy.deepcopy(draw.choice(VALUES))


def mutated(text: str, draw: random.Random) -> str:
    """The JSON with some of its values, names or its text changed."""
    try:
        held = json.loads(text)
    except ValueError:
        return text
    for _ in range(draw.choice((1, 1, 2, 5))):
        part = held
        while isinstance(part, dict | list) and part and draw.random() < 0.8:
            key = draw.choice(list(part)) if isinstance(part, dict) else draw.randrange(len(part))
            if not isinstance(part[key], dict | list) or not part[key]:
                break
            part = part[key]
        if isinstance(part, dict):
            names = [*part, *NAMES] if draw.random() < 0.5 else list(part) or [*NAMES]
            if part and draw.random() < 0.2:
                part.pop(draw.choice(list(part)))
            else:
                part[draw.choice(names)] = _value(draw)
        elif isinstance(part, list):
            part.insert(draw.randrange(len(part) + 1), _value(draw))
        else:
            held = _value(draw)
    return json.dumps(held)


def _mutated(path: Path, draw: random.Random, whole: Path) -> None:
    text = (
        whole.read_text()
        if whole.is_file() and whole.suffix == ".json"
        else '{"num_steps": 2, "predictor": "ddim", "seed": 1}'
    )
    path.write_text(mutated(text, draw))


def _strange(path: Path, draw: random.Random, whole: Path) -> None:
    path.write_bytes(
        draw.choice(
            (
                b"[" * 10**5,
                b'{"a":' * 10**5,
                b"1" * 10**5,
                b'{"num_steps": NaN}',
                b'{"num_steps": 1e999}',
                b"null",
                b"3",
                b'"x"',
                b'\xef\xbb\xbf{"num_steps": 2}',
                '{"num_steps": 2}'.encode("utf-16"),
                b'{"num_steps": 2, "num_steps": 3}',
                b'{"num_steps": 2',
                b"\xff\xfe",
                b'{"num_steps": ' + b"9" * 5000 + b"}",
                b'{"\\ud800": 1}',
                b"{}\0",
            )
        )
    )


TEXTS = {"mutated": _mutated, "mutated more": _mutated, "strange": _strange}
