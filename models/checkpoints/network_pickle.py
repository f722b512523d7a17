"""Pickles of whole networks as NVlabs' programs write them: EDM's and EDM2's snapshots.

Such a file holds, beside the weights, the source of every class and the arguments that its constructor was given. Of
the source nothing is run: classes are stand-ins (``pickles.py``), and what is read of them are the weights by the
names of the modules that hold them, and the arguments of the outermost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from models.checkpoints.damage import DamagedCheckpointError
from models.checkpoints.pickles import StandIn, read_pickle

FORMAT = "nvlabs network pickle"
CLASS, ARGUMENTS, WEIGHTS, TABLES, BESIDE = "class", "arguments", "weights", "tables", "beside"
"""Entries of the content of such a file."""

_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
_DICTIONARY = "dnnlib.util.EasyDict"
_CONTAINERS = frozenset(
    f"torch.nn.modules.container.{name}" for name in ("ModuleDict", "ModuleList", "Sequential")
)
_ALLOWED = frozenset({_PERSISTENT, _DICTIONARY, "torch.device", *_CONTAINERS})
_POSITIONAL = ("img_resolution", "img_channels", "label_dim", "use_fp16")
"""The constructor's arguments that may come without a name."""
_MARK = b"torch_utils.persistence"
_HEAD = 1 << 16
_TORCH = b"\x80\x02\x8a\x0a"
"""The beginning of what torch wrote before 1.6, a pickle as well."""


def is_network_pickle(file: Path) -> bool:
    """Whether a file is such a pickle, from its first bytes: the function that it asks for is named among them."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    pickled = head[:1] == b"\x80" and head[:4] != _TORCH
    return pickled and (_MARK in head or file.suffix == ".pkl")


def read_network_pickle(file: Path) -> dict[str, Any]:
    """The averaged network of a snapshot: the class, its constructor's arguments, its weights and tables by name.

    Raises:
        ValueError: it is no whole pickle, names a class or function that no network needs, or holds no such network.
    """
    held = _plain(
        read_pickle(
            file, _ALLOWED.__contains__, "load it in its own program and save the network's state_dict()"
        )
    )
    if not isinstance(held, Mapping) or not isinstance(held.get("ema"), StandIn):
        raise ValueError(
            f"weights file {file} is a pickle, but no snapshot of EDM or EDM2: it has no network 'ema'."
        )
    try:
        name, state = _persistent(held["ema"])
        arguments = _plain(state["_init_kwargs"])
        unnamed = state["_init_args"]
        given = dict(zip(_POSITIONAL[: len(unnamed)], unnamed, strict=True)) | arguments
        weights, tables = (dict(_tensors(state, kind, "", set())) for kind in ("_parameters", "_buffers"))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise DamagedCheckpointError(
            file, "is a pickle of a network that lacks parts, or has strange ones"
        ) from error
    beside = [str(name) for name in held if name != "ema"]
    return {
        "format": FORMAT,
        CLASS: name,
        ARGUMENTS: {str(key): _list(value) for key, value in given.items()},
        WEIGHTS: weights,
        TABLES: tables,
        BESIDE: beside,
    }


def _plain(value: Any) -> Any:
    """A dictionary whose entries are attributes as one of Python's."""
    return dict(value.entries) if isinstance(value, StandIn) and value.name == _DICTIONARY else value


def _list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else _plain(value)


def _persistent(made: StandIn) -> tuple[str, Mapping[str, Any]]:
    """The name of a class and the attributes of its object."""
    (about,) = made.arguments
    told = _plain(about)
    return str(told["class_name"]), _plain(told["state"])


def _tensors(state: Mapping[str, Any], kind: str, prefix: str, met: set[int]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a module and of the modules in it, by their names within it."""
    if id(state) in met:
        raise ValueError("a module is in several places, or in itself")
    met.add(id(state))
    for name, tensor in state[kind].items():
        if isinstance(tensor, Tensor):
            yield f"{prefix}{name}", tensor
    for name, module in state["_modules"].items():
        if isinstance(module, StandIn):
            inner = module.state if module.name in _CONTAINERS else _persistent(module)[1]
            yield from _tensors(inner, kind, f"{prefix}{name}.", met)
