"""Weights inside what training scripts put around them: entries, lists of one, and prefixes of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_AVERAGED = ("ema", "params_ema", "ema_state_dict", "model_ema", "ema_model")
_RAW = ("state_dict", "model", "net", "params", "model_state_dict", "network", "unet")
_PREFIXES = tuple(
    f"{name}."
    for name in ("module", "_orig_mod", *_AVERAGED, *_RAW, "diffusion_model", "denoise_fn", "score_model")
)
_DEEPEST = 4


@dataclass(frozen=True)
class Unwrapped:
    """What lies within a file's content.

    Args:
        content: as a checkpoint family may know it.
        left: why each part around it is left out, by name.
    """

    content: Any
    left: Mapping[str, str] = field(default_factory=dict)


def unwrapped(payload: Any, *, ema: bool, depth: int = 0) -> Iterator[Unwrapped]:
    """The content of a file, then what is within its wrappings, the outermost first.

    Args:
        payload: the content of the file.
        ema: entries of averaged weights come before those of raw ones; otherwise they are passed over.
        depth: how many wrappings are around it.
    """
    yield Unwrapped(payload)
    if depth == _DEEPEST:
        return
    if isinstance(payload, list | tuple) and len(payload) == 1:
        yield from unwrapped(payload[0], ema=ema, depth=depth + 1)
    if not isinstance(payload, Mapping):
        return
    for entry in (*_AVERAGED, *_RAW) if ema else _RAW:
        if isinstance(payload.get(entry), Mapping | list | tuple):
            left = {str(name): f"beside {entry!r}, which is used" for name in payload if name != entry}
            yield from _within(payload[entry], left, ema, depth)
    for prefix in _PREFIXES:
        if any(_has(name, prefix) for name in payload):
            inner = {name.removeprefix(prefix): v for name, v in payload.items() if _has(name, prefix)}
            left = {
                str(name): f"not among the names in {prefix!r}" for name in payload if not _has(name, prefix)
            }
            yield from _within(inner, left, ema, depth)


def _has(name: object, prefix: str) -> bool:
    return isinstance(name, str) and name.startswith(prefix)


def _within(payload: Any, left: Mapping[str, str], ema: bool, depth: int) -> Iterator[Unwrapped]:
    for found in unwrapped(payload, ema=ema, depth=depth + 1):
        yield Unwrapped(found.content, {**left, **found.left})
