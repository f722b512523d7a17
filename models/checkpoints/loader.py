"""The one loader: published weights of any registered family into our networks, strictly."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.base import Network, register_model
from models.checkpoints.architecture import Described
from models.checkpoints.base import Family, register_family
from models.checkpoints.damage import out_of_memory
from models.checkpoints.diffusers_folder import is_folder, read_folder
from models.checkpoints.misfits import ArchitectureError
from models.checkpoints.reader import read_payload
from models.checkpoints.wrapping import unwrapped

_SHOWN = 5
_LISTED = 12


@dataclass(frozen=True)
class LoadedWeights:
    """A report of loaded weights: how many tensors were used, and what else the file has, each with the reason."""

    family: str
    path: str
    step: int | None
    used: int
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        step = "" if self.step is None else f", step {self.step}"
        lines = [f"{self.path}: weights of family {self.family}{step}, {self.used} tensors used"]
        if self.ignored:
            lines.append("not used:")
        lines += [f"  {reason}" for reason in self.ignored[:_LISTED]]
        if len(self.ignored) > _LISTED:
            lines.append(f"  ... and {len(self.ignored) - _LISTED} more")
        return "\n".join(lines)


@dataclass(frozen=True)
class Recognised:
    """A file's family, its content without wrappings, and what was around it with the reason it is left out."""

    family: Family
    payload: Any
    around: Mapping[str, str]


def recognise(payload: Any, path: str | os.PathLike[str], *, ema: bool = True) -> Recognised:
    """The family of an unpickled file, and its content within ``state_dict``, ``module.`` and the like.

    Raises:
        ValueError: no family knows it; the message shows the file's first names.
    """
    for found in unwrapped(payload, ema=ema):
        for name in register_family:
            family: Family = register_family[name]()
            if family.recognises(found.content):
                return Recognised(family, found.content, found.left)
    names = list(map(str, payload)) if isinstance(payload, Mapping) else ["none, it is a list"]
    raise ValueError(
        f"weights file {path} is of no known family (tried {', '.join(register_family)}); "
        f"its first names: {_first(names)}."
    )


@contextlib.contextmanager
def readable(path: str | os.PathLike[str], family: Family) -> Iterator[None]:
    """Report an entry of another kind than the family's files have as an error of the file.

    Raises:
        ValueError: naming the file, where a family meets a number, text or list in place of a tensor or a table.
    """
    try:
        yield
    except (TypeError, AttributeError, LookupError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        raise ValueError(
            f"weights file {path} has the names of family {family.name!r}, but some of its entries are missing or "
            "of another kind than that family's; use another copy, or save the network's state_dict() again."
        ) from error


def described(content: Any, path: str | os.PathLike[str], size: tuple[int, int]) -> Described | None:
    """The network that a file's content describes; None where it does not, or where the network is none of those.

    Args:
        content: of ``read``.
        path: of it, for messages.
        size: height and width of the images, which some files do not tell.

    Raises:
        ValueError: the file is of no known family, or lacks what its family has.
    """
    found = recognise(content, path)
    with readable(path, found.family), contextlib.suppress(ArchitectureError):
        return found.family.described(found.payload, size)
    return None


def read(path: str | os.PathLike[str]) -> Any:
    """The content of a file, of a diffusers folder, or of a model of the hub."""
    return read_folder(path) if is_folder(path) else read_payload(path)


def load_weights(network: Network, path: str | os.PathLike[str], *, ema: bool = True) -> LoadedWeights:
    """Copy the weights of a published file into ``network``, in place; all of them or none.

    Args:
        network: built with the architecture of the file.
        path: a file of any registered family, or a folder or hub id of diffusers.
        ema: the averaged weights, where the file has both.

    Raises:
        ValueError: the file cannot be read safely (see ``read_payload``), is of no known family, or does
            not hold exactly the network's parameters: the file, the family and the first differing keys.
    """
    return load_content(network, read(path), path, ema=ema)


def load_content(
    network: Network, content: Any, path: str | os.PathLike[str], *, ema: bool = True
) -> LoadedWeights:
    """The same of a file whose content has been read already (``read``)."""
    recognised = recognise(content, path, ema=ema)
    family, payload = recognised.family, recognised.payload
    key_map = family.key_map(network)
    with readable(path, family):
        tensors = family.fitted(family.tensors(payload, ema=ema), network)
        _check_tensors(tensors, path)
        left_out = family.left_out(payload, network, ema=ema)
    ignored = {**recognised.around, **left_out}

    parameters = dict(network.named_parameters())
    assert parameters.keys() == key_map.keys(), "a family must map every parameter"
    _check(
        parameters,
        key_map,
        tensors,
        left_out,
        where=f"weights file {path} (family {family.name!r})",
        network=network,
    )
    with torch.no_grad():
        for ours, theirs in key_map.items():
            parameters[ours].copy_(tensors[theirs])
    step = payload.get("step") if isinstance(payload, Mapping) else None
    return LoadedWeights(
        family=family.name,
        path=os.fspath(path),
        step=int(step) if isinstance(step, int) else None,
        used=len(key_map),
        ignored=tuple(f"{name}: {reason}" for name, reason in sorted(ignored.items())),
    )


def _check(
    parameters: Mapping[str, Tensor],
    key_map: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    ignored: Mapping[str, str],
    *,
    where: str,
    network: Network,
) -> None:
    missing = [theirs for theirs in key_map.values() if theirs not in tensors]
    known = set(key_map.values())
    unexpected = [name for name in tensors if name not in known and name not in ignored]
    shapes = [
        f"{theirs} is {tuple(tensors[theirs].shape)} in the file and {tuple(parameters[ours].shape)} here"
        for ours, theirs in key_map.items()
        if theirs in tensors and tensors[theirs].shape != parameters[ours].shape
    ]
    kinds = (
        ("missing in the file", missing),
        ("not in the network", unexpected),
        ("of another shape", shapes),
    )
    problems = [f"{len(names)} {kind}: {_first(names)}" for kind, names in kinds if names]
    if problems:
        model = (
            register_model.name_of(type(network))
            if type(network) in _registered()
            else type(network).__name__
        )
        raise ArchitectureError(
            f"{where} does not fit the network {model!r}. {'; '.join(problems)}.",
            "Build the network with the file's architecture, or load the file that belongs to this one.",
        )


def _check_tensors(tensors: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Refuse weights that are no numbers; half and double precision are read, whatever the network has."""
    wrong = [
        f"{name} ({value.dtype if isinstance(value, Tensor) else type(value).__name__})"
        for name, value in tensors.items()
        if not isinstance(value, Tensor) or not value.is_floating_point()
    ]
    if wrong:
        raise ValueError(
            f"weights file {path} has {len(wrong)} weights that are no floating-point tensors: "
            f"{_first(wrong)}. Give a file of the network's state_dict()."
        )


def _registered() -> list[type]:
    return [register_model[name] for name in register_model]


def _first(names: list[str]) -> str:
    more = f", … ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more
