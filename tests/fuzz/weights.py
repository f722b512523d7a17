"""Odd files of weights: entries that lack or are something else, sizes that are not there, pickles that execute."""

from __future__ import annotations

import argparse
import copy
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.arrays import store
from tests.fuzz.canary import Executes, malicious
from tests.fuzz.texts import mutated

WRONG = (
    None,
    -1,
    2**70,
    1.5,
    float("nan"),
    "x",
    [],
    {},
    [1, 2],
    {"a": 1},
    torch.zeros(3),
    torch.zeros(0, 7),
    True,
)


def _edited(
    change: Callable[[dict[str, Any], random.Random], Any],
) -> Callable[[Path, random.Random, Path], None]:
    """A checkpoint of ours with its content changed, saved again as torch saves it."""

    def write(path: Path, draw: random.Random, whole: Path) -> None:
        held = torch.load(whole, weights_only=True)
        torch.save(change(held, draw), path)

    return write


def _without(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    part = draw.choice([held, held["model"], held["ema"], held["ema"]["shadow"], held["optimizer"]])
    part.pop(draw.choice(list(part)))
    return held


def _wrong(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    parts = [held, held, held["model"], held["ema"], held["ema"]["shadow"], held["optimizer"], held["scaler"]]
    part = draw.choice([p for p in parts if p])
    part[draw.choice(list(part))] = copy.deepcopy(draw.choice(WRONG))
    return held


def _moments(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    states = held["optimizer"]["state"]
    state = states[draw.choice(list(states))]
    state[draw.choice(list(state))] = copy.deepcopy(draw.choice(WRONG))
    return held


def _further(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    part = draw.choice([held, held["model"], held["ema"], held["ema"]["shadow"], held["optimizer"]])
    part[draw.choice(("x", "é", "\ud800", "", 3, "module.a"))] = copy.deepcopy(draw.choice(WRONG))
    return held


def _shapes(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    for part in draw.choice(
        ([held["model"]], [held["ema"]["shadow"]], [held["model"], held["ema"]["shadow"]])
    ):
        name = sorted(part)[draw.randrange(len(part)) if len(part) > 1 else 0]
        tensor = part[name]
        part[name] = draw.choice((
            tensor.new_zeros(()), tensor.flatten()[:1], tensor.to(torch.complex64), tensor.to(torch.int64),
            tensor.half(), tensor.expand(2, *tensor.shape), torch.zeros(1).expand(2**20, 2**20), tensor.to_sparse(),
            torch.empty(3, device="meta"),
        ))  # fmt: skip
    return held


def _values(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    value = draw.choice((float("nan"), float("inf"), 1e38, -1e30))
    for part in (held["model"], held["ema"]["shadow"]):
        for tensor in part.values():
            tensor.fill_(value)
    return held


def _configuration(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    held["config"] = mutated(held["config"], draw)
    return held


def _classes(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    held["classes"] = draw.choice(
        (["a"], ["0"] * 10, [""] * 10, ["../x", "\ud800"], list(range(10)), "ab", ["é"] * 10**5)
    )
    return held


def _wrapped(held: dict[str, Any], draw: random.Random) -> Any:
    for _ in range(draw.choice((1, 2, 60))):
        held = draw.choice(
            (lambda h: {"state_dict": h}, lambda h: {"model": h}, lambda h: [h], lambda h: (h, h))
        )(held)
    return held


def _pickle(path: Path, draw: random.Random, whole: Path) -> None:
    path.write_bytes(malicious(draw.randrange(5), {"model": {}} if draw.random() < 0.5 else None))


def _executing(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    part = draw.choice([held, held["model"], held["optimizer"]])
    part[draw.choice(list(part))] = Executes(draw.randrange(5))
    return held


def _options(held: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """As a training script leaves them: weights, averages, and its flags, of which some would run."""
    values: dict[str, Any] = {"model": "DiT-XL/2", "lr": 1e-4, "sub": argparse.Namespace(a=[1])}
    if draw.random() < 0.5:
        values["hook"] = Executes(draw.randrange(5))
    flags = argparse.Namespace(**values)
    whole = {"model": held["model"], "ema": held["ema"]["shadow"], "opt": held["optimizer"], "args": flags}
    whole[draw.choice(("args", "args", "ema", "model", "extra"))] = draw.choice(
        (flags, [flags], {"a": flags})
    )
    return whole


def _nested(path: Path, draw: random.Random, whole: Path) -> None:
    """Lists in lists: deep, or few that print as very many."""
    if draw.random() < 0.5:
        depth = draw.choice((500, 10**5))
        held = b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."
    else:
        inner: Any = [0]
        for _ in range(40):
            inner = [inner, inner]
        held = pickle.dumps({"model": inner}, protocol=2)
    with zipfile.ZipFile(path, "w") as archive:
        store(archive, "a/data.pkl", held)
        store(archive, "a/version", "3")


def _bomb(path: Path, draw: random.Random, whole: Path) -> None:
    """Compressed zeros; or a pickle that declares more than the file has."""
    if draw.random() < 0.5:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            store(archive, "a/data.pkl", pickle.dumps({"a": 1}, protocol=2))
            store(archive, "a/data/0", bytes(2**26))
        return
    file = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, file)
    count = draw.choice((2**31 - 1, 2**30, 10**6))
    with zipfile.ZipFile(file) as held, zipfile.ZipFile(path, "w") as archive:
        for name in held.namelist():
            data = held.read(name)
            store(archive, name, data.replace(b"K\x03", b"J" + struct.pack("<i", count)))


def _legacy(path: Path, draw: random.Random, whole: Path) -> None:
    held = torch.load(whole, weights_only=True)
    torch.save({"state_dict": held["model"]}, path, _use_new_zipfile_serialization=False)
    data = bytearray(path.read_bytes())
    for _ in range(draw.randrange(3)):
        data[draw.randrange(min(len(data), 3000))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


CHECKPOINTS = {
    "without": _edited(_without),
    "wrong": _edited(_wrong),
    "further": _edited(_further),
    "moments": _edited(_moments),
    "shapes": _edited(_shapes),
    "values": _edited(_values),
    "configuration": _edited(_configuration),
    "classes": _edited(_classes),
    "wrapped": _edited(_wrapped),
    "executing": _edited(_executing),
    "options": _edited(_options),
    "pickle": _pickle,
    "nested": _nested,
    "bomb": _bomb,
    "legacy": _legacy,
}


def _header(path: Path, draw: random.Random, whole: Path) -> None:
    """The header of a safetensors file changed, its tensors as they are."""
    data = whole.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = draw.choice([n for n in header if n != "__metadata__"])
    entry, last = header[name], len(data) - 8 - length
    match draw.randrange(7):
        case 0:
            entry["data_offsets"] = draw.choice(
                ([0, 2**62], [-8, 0], [5, 2], [0, last], ["a", "b"], [], [0.5, 1])
            )
        case 1:
            entry["shape"] = draw.choice(([2**40, 2**40], [-1], ["a"], [0], [2**64], None, [1] * 5000))
        case 2:
            entry["dtype"] = draw.choice(("F8", "BOOL", "C64", "x", None, 3, "U64", "F64", "BF16"))
        case 3:
            header["__metadata__"] = draw.choice(
                ({"config": mutated('{"a": 1}', draw)}, {"format": "x"}, {"a": 1}, [], "x")
            )
        case 4:
            if "__metadata__" in header and "config" in header["__metadata__"]:
                header["__metadata__"]["config"] = mutated(header["__metadata__"]["config"], draw)
        case 5:
            header[draw.choice(("é", "a/b", "../x", ""))] = entry
        case 6:
            header.pop(name)
    text = json.dumps(header).encode()
    if draw.random() < 0.1:
        text = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    claimed = draw.choice((len(text),) * 8 + (2**63, 10**8, len(text) + 9, 0))
    path.write_bytes(claimed.to_bytes(8, "little") + text + data[8 + length :])


SAFETENSORS = {"header": _header, "header again": _header}
