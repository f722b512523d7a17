"""Files of weights that are altered, larger than they say, or no weights: refused, at little memory."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoints import declared
from models.checkpoints.damage import DamagedCheckpointError
from models.checkpoints.reader import read_payload
from models.networks.ddpm import DDPM
from run_lib.training.checkpoints import read_checkpoint
from run_lib.training.state import TrainState, Weights

MISLEADING = ("file an issue", "weights_only", "allow_pickle", "Delete it", "pytorch.org")


def saved(folder: Path, step: int = 6) -> Path:
    """A checkpoint of ours, as training writes it."""
    torch.manual_seed(0)
    network = DDPM(channels=8, channel_mult=(1,), num_res_blocks=1, image_size=4, in_channels=1)
    weights = Weights.fresh(network, 0.99, (), False)
    weights.step = step
    path = folder / "checkpoints" / f"step_{step:08d}.pt"
    path.parent.mkdir(exist_ok=True)
    TrainState(weights, torch.optim.Adam(network.parameters())).save(path, {})
    return path


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    return bool(a == b)


def refusal(path: Path, read: Callable[[Path], Any]) -> str | None:
    """The message with which the file is refused, if it is; any other exception passes."""
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return None


def test_no_flipped_bit_changes_a_number(tmp_path: Path) -> None:
    """Of 60 single flipped bits, each is refused by name or loads what was written (padding is no weight)."""
    path = saved(tmp_path)
    whole, content = path.read_bytes(), read_checkpoint(path)
    draw, refused = random.Random(0), 0
    for _ in range(60):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        if error := refusal(path, read_checkpoint):
            assert path.name in error
            assert not any(text in error for text in MISLEADING)
            refused += 1
        else:
            assert equal(read_checkpoint(path), content)
    assert refused > 30


def test_no_flipped_bit_of_the_table_of_contents_changes_a_number(tmp_path: Path) -> None:
    """Every bit of a part's entry: one of them marks it as a folder, of which torch reads nothing."""
    path = tmp_path / "a.pt"
    torch.save({"a": torch.arange(3.0) + 1}, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        (entry,) = (m for m in archive.infolist() if m.filename.endswith("data/0"))
    end = whole.rindex(entry.filename.encode())
    for at in range(end - 46, end):  # the fixed fields, before the name
        for bit in range(8):
            content = bytearray(whole)
            content[at] ^= 1 << bit
            path.write_bytes(bytes(content))
            assert refusal(path, read_payload) or equal(read_payload(path)["a"], torch.arange(3.0) + 1), (
                at,
                bit,
            )


def test_the_damaged_part_is_named_and_the_checkpoint_before(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith("data/3"))
    at = member.header_offset
    name, extra = struct.unpack("<HH", data[at + 26 : at + 30])
    data[at + 30 + name + extra] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedCheckpointError, match=r"data/3' does not have the checksum.*No earlier"):
        read_checkpoint(path)
    saved(tmp_path, step=4)
    with pytest.raises(DamagedCheckpointError, match=r"step_00000004\.pt remains") as caught:
        read_checkpoint(path)
    assert caught.value.file == path


@pytest.mark.parametrize(
    "entry", ["step", "model", "ema", "optimizer", "averages", "scaler", "times", "config"]
)
def test_a_missing_entry_is_named(entry: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    payload = torch.load(path, weights_only=True)
    del payload[entry]
    torch.save(payload, path)
    with pytest.raises(ValueError, match=rf"step_00000006\.pt lacks {entry}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("model", {"a": 1}),
        ("ema", {"num_updates": 1, "shadow": {"input_conv.weight": torch.zeros(1)}}),
        ("ema", {"num_updates": 1}),
        ("averages", {0.9: 1}),
        ("optimizer", {"state": {}}),
    ],
)
def test_an_entry_with_something_else_in_it_is_named(entry: str, value: Any, tmp_path: Path) -> None:
    path = saved(tmp_path)
    torch.save({**torch.load(path, weights_only=True), entry: value}, path)
    with pytest.raises(ValueError, match=rf"step_00000006\.pt lacks {entry}"):
        read_checkpoint(path)


class Call:
    """Pickled, it calls a function when it is read."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def inflated(path: Path) -> None:
    """A part of 400 MB of zeros, compressed."""
    torch.save({"a": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {m.filename: archive.read(m) for m in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in parts.items():
            archive.writestr(name, bytes(400_000_000) if name.endswith("data/0") else data)


def in_pickle(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Weights whose pickle is edited, with a checksum that is right."""

    def write(path: Path) -> None:
        torch.save({"a": torch.zeros(77, 1)}, path)
        with zipfile.ZipFile(path) as archive:
            parts = {m.filename: archive.read(m) for m in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, edit(data) if name.endswith("data.pkl") else data)

    return write


def large_tensor(data: bytes) -> bytes:
    """The tensor's 77 rows become 120 million, of the same storage of 77 numbers."""
    at = data.index(b"K\x00KMK\x01\x86")
    assert at > 0
    return data.replace(b"K\x00KMK\x01\x86", b"K\x00J" + struct.pack("<i", 120_000_000) + b"K\x01\x86")


def large_storage(data: bytes) -> bytes:
    """The storage's 77 numbers become 120 million."""
    return data.replace(b"KMtq", b"J" + struct.pack("<i", 120_000_000) + b"tq")


def expanded(path: Path) -> None:
    """One number, seen as 100 million by a stride of 0."""
    torch.save({"a": torch.zeros(1).expand(100_000_000)}, path)


def nested(path: Path) -> None:
    """Empty lists, a byte each, of which a file can hold millions."""
    body = b"\x80\x02]" + b"]" * 20_000 + b"."
    in_pickle(lambda _: body)(path)


def allocating(path: Path) -> None:
    torch.save({"a": Call(bytearray, 500_000_000)}, path)


def remembered(path: Path) -> None:
    """A reference numbered 60 million, for which the plain unpickler makes a table."""
    in_pickle(lambda _: b"\x80\x02]r" + struct.pack("<I", 60_000_000) + b".")(path)


def legacy_storage(path: Path) -> None:
    torch.save({"a": torch.zeros(77)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert b"KMNt" in data
    data = data.replace(b"KMNt", b"J" + struct.pack("<i", 120_000_000) + b"Nt")
    path.write_bytes(data.replace(b"K\x00KM\x85", b"K\x00J" + struct.pack("<i", 120_000_000) + b"\x85"))


def header(path: Path) -> None:
    """A safetensors header that declares 400 MB."""
    text = json.dumps(
        {"a": {"dtype": "F32", "shape": [100_000_000], "data_offsets": [0, 400_000_000]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))


LARGE = {
    "inflated": (inflated, "has compressed parts"),
    "large tensor": (in_pickle(large_tensor), "shape 120000000x1 and holds 308 bytes"),
    "large storage": (
        in_pickle(large_storage),
        "declares 480000000 bytes for its part 'data/0', which has 308",
    ),
    "expanded": (expanded, "shape 100000000 and holds 4 bytes"),
    "nested": (nested, "more than 10000 objects"),
    "allocating": (allocating, r"arbitrary unpickling.*bytearray"),
    "remembered": (remembered, "holds a list|holds no|expected|lacks|of no known"),
    "legacy storage": (legacy_storage, "cannot be read: truncated"),
    "safetensors header": (header, "cannot be read: truncated, or not safetensors"),
}
CHILD = """
import resource, sys
from models.checkpoints import declared
from models.checkpoints.reader import read_payload
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_payload(path)
    except ValueError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("case", [name for name in LARGE if name != "remembered"])
def test_declared_sizes_are_checked(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "_MOST_OPERATIONS", 10_000)  # four million take seconds
    write, message = LARGE[case]
    write(tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message) as error:
        read_payload(tmp_path / "model.pt")
    assert "model.pt" in str(error.value)
    assert not any(text in str(error.value) for text in MISLEADING)


@pytest.mark.slow
def test_files_that_declare_much_take_little_memory(tmp_path: Path) -> None:
    """Each declares 400 MB or more; a process that reads all of them grows by less than 300 MB."""
    paths = []
    for number, (write, _) in enumerate(LARGE.values()):
        write(tmp_path / f"{number}.pt")
        paths.append(tmp_path / f"{number}.pt")
    grown = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert int(grown.stdout) < 300


FOREIGN = {
    "empty.pt": b"",
    "picture.pt": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "words.pt": b"hello, world\n",
    "object.pt": b'{"a": 1}',
    "pickle.pt": pickle.dumps({"a": 1}),
    "number.pt": pickle.dumps(1),
    "zeros.safetensors": bytes(100),
    "empty.safetensors": b"",
    "words.safetensors": b"hello, world\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FOREIGN[name])
    with pytest.raises(DamagedCheckpointError, match=rf"{name} .*cannot be read") as error:
        read_payload(tmp_path / name)
    assert not any(text in str(error.value) for text in MISLEADING)


def test_a_zip_of_something_else_and_a_program_of_torchscript(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/words", "hello")
    with pytest.raises(DamagedCheckpointError, match=r"none that torch\.save wrote"):
        read_payload(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("b/constants.pkl", "hello")
    with pytest.raises(ValueError, match=r"b\.pt refused.*TorchScript"):
        read_payload(tmp_path / "b.pt")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"PK")

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"a\.pt may not be read by this user; give it read permission"):
        read_payload(path)


def test_safetensors_by_content_whatever_the_name(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3.0)}, tmp_path / "model.safetensors")
    os.rename(tmp_path / "model.safetensors", tmp_path / "model.pt")
    assert torch.equal(read_payload(tmp_path / "model.pt")["a"], torch.arange(3.0))


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_scripts_save_still_loads(legacy: bool, tmp_path: Path) -> None:
    """Views, shared storages, transposed, empty and parameter tensors, all kinds of numbers."""
    base = torch.arange(12.0).reshape(3, 4)
    content: dict[str, Any] = {
        "transposed": base.T,
        "row": base[1],
        "empty": torch.zeros(0, 5),
        "scalar": torch.tensor(2),
        "parameter": torch.nn.Parameter(base.clone()),
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "bool": base > 3,
        "complex": base.to(torch.complex64),
        "state": torch.nn.Linear(2, 2).state_dict(),
        "numbers": [1, 2.5, 1 + 2j, True, None, "text", (1, 2), {3}],
        "size": base.shape,
        "dtype": torch.float32,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    assert equal(dict(read_payload(tmp_path / "a.pt")), content)


def test_flipped_and_cut_files_raise_nothing_else(tmp_path: Path) -> None:
    """Mutations of three kinds of file end in ValueError or load."""
    torch.manual_seed(0)
    weights = {f"a.{i}": torch.randn(5) for i in range(4)}
    torch.save(weights, tmp_path / "new.pt")
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(weights, tmp_path / "model.safetensors")
    draw = random.Random(1)
    for name in ("new.pt", "old.pt", "model.safetensors"):
        whole = (tmp_path / name).read_bytes()
        for attempt in range(100):
            data = bytearray(whole[: draw.randrange(len(whole))] if attempt % 4 == 0 else whole)
            for _ in range(draw.randrange(4)):
                if data:
                    data[draw.randrange(len(data))] = draw.randrange(256)
            (tmp_path / name).write_bytes(data)
            assert name in (refusal(tmp_path / name, read_payload) or name)
