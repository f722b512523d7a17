"""Declared sizes are checked before anything is allocated: numbers of a configuration, arrays, images."""

from __future__ import annotations

import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from run_lib.data.levels import DataSpec
from run_lib.data.packed import PackedError, read_array, read_arrays
from run_lib.pictures import MOST_PIXELS, picture, pixels_of_picture
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, program

IMAGES = ROOT / "configs/toy/gaussian_image.py"


def bomb_png(path: Path, side: int = 20_000) -> None:
    """A grey image of side x side black pixels in about a thousandth of its bytes."""
    packed = zlib.compressobj(9)
    data = b"".join(packed.compress(bytes(side + 1)) for _ in range(side)) + packed.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def header(shape: tuple[int, ...], descr: object = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def bomb_npz(path: Path, rows: int = 1 << 23) -> None:
    """``arr_0`` of rows x 64 zeros, half a gibibyte, in a few megabytes."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as member,
    ):
        member.write(header((rows, 1, 8, 8)))
        for _ in range(rows * 64 >> 20):
            member.write(bytes(1 << 20))


CHILD = """
import resource, sys, json
from pathlib import Path
from tests.run_lib.program import program
from tests.run_lib.test_sizes import cases
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, arguments, fields, wanted in cases(Path(sys.argv[1])):
    outcome = program(*arguments, **fields)
    message = outcome.err.split("error: ")[-1].strip()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([name, outcome.status, message, wanted, grown >> 10]), flush=True)
"""


def cases(folder: Path) -> list[tuple[str, tuple[object, ...], dict[str, object], str]]:
    """Name, command, fields, and a part of the message."""
    control = ("--config", IMAGES, "--mode", "control", "--workdir", folder / "run")
    levels = {"data__dataset": "digits", "data__levels": 256, "sampling__num_steps": 2}
    tiny = ("--config", TINY, "--workdir", folder / "run", "--mode")
    exact = ("--config", GAUSSIAN, "--workdir", folder / "run", "--mode")
    found: list[tuple[str, tuple[object, ...], dict[str, object], str]] = [
        ("npz", control, {**levels, "control__input": folder / "bomb.npz"}, "more than 100 times as many"),
        ("npz that lies", control, {**levels, "control__input": folder / "lies.npz"}, "its header declares"),
        ("png", control, {**levels, "control__input": folder / "png"}, "it has more than 89478485 pixels"),
        ("mask", control, {**levels, "control__mask": folder / "png/a.png"}, "more than 89478485 pixels"),
        ("picture", (*tiny, "train"), {"sampling__grid_size": 100_000}, "a picture of so many samples of 8x8"),
        ("points", (*exact, "sample"), {"sampling__grid_size": 10**7}, "a picture has at most 1000000 points"),
        ("sweep", (*exact, "tune"), {"tune__sweep": "snr=0.1:0.2:1000000000"}, "more than 10000 values"),
        (
            "product of sweeps", (*exact, "tune"), {"tune__sweep": "snr=0.1:1:999 eta=0.1:1:999 t_end=0.1:0.2:999"},
            "has 997002999 combinations",
        ),
        ("batch", (*tiny, "train"), {"training__batch_size": 10**8}, "asks for an array of 100000000 x 64 values"),
        ("width", (*tiny, "train"), {"model__nf": 4000, "model__ch_mult": "(64,)"}, "layers of 256000 channels"),
        ("blocks", (*tiny, "train"), {"model__nf": 4000, "model__num_res_blocks": 200}, "weights, and at most"),
        ("classes", (*tiny, "train"), {"model__nf": 4000, "model__num_classes": 10**6}, "a table of 1000000 x 16000"),
        ("sample", (*tiny, "train"), {"data__image_size": 2**15, "data__num_channels": 64}, "a sample of shape"),
        ("trajectory", (*exact, "sample"), {"sampling__trajectory": 10**9}, "trajectory lies in [0, 10000], got"),
    ]  # fmt: skip
    found += [
        (path, (*tiny, "train"), {path.replace(".", "__"): 10**10}, f"config.{path}")
        for path in ("model.num_scales", "sampling.num_steps", "sampling.num_samples", "model.num_classes",
                     "model.num_res_blocks", "model.nf")
    ]  # fmt: skip
    return found


@pytest.mark.slow
def test_nothing_large_is_allocated(tmp_path: Path) -> None:
    """One line, status 1 or 2, and less than 300 MB more than the program itself, whatever is declared. One
    process for all, which the machine would end at 6 GB."""
    bomb_npz(tmp_path / "bomb.npz")
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as archive:
        archive.writestr("arr_0.npy", header((10**10, 1, 8, 8)) + bytes(64))
    (tmp_path / "png").mkdir()
    bomb_png(tmp_path / "png/a.png")
    assert (tmp_path / "bomb.npz").stat().st_size < 6e6
    assert (tmp_path / "png/a.png").stat().st_size < 2e6

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))

    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, preexec_fn=limited,
        check=False,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(cases(tmp_path)), done.stderr[-2000:]
    for name, status, message, wanted, grown in rows:
        assert status == 2, (name, status, message)
        assert wanted in message, (name, message)
        assert grown < 300, (name, grown)


@pytest.mark.parametrize(("count", "shape"), [(5, (3, 8, 16)), (7, (1, 60, 30)), (64, (1, 8, 8))])
def test_pixels_are_those_of_the_picture(count: int, shape: tuple[int, ...]) -> None:
    data = DataSpec("any", lambda split: None, None, shape, 256, True, False, False)  # type: ignore[arg-type,return-value]
    found = picture(torch.zeros(count, *shape, dtype=torch.uint8), data)
    assert found.shape[0] * found.shape[1] == pixels_of_picture(count, shape)
    assert pixels_of_picture(64, (3, 1024, 1024)) < MOST_PIXELS, "what shipped configurations ask for"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header((10**12,)) + bytes(8), "its header declares 1000000000000 bytes"),
        (header((-1,)) + bytes(8), "is damaged|is no array"),
        (header((-1, -8)) + bytes(8), "is damaged|is no array"),
        (header((8,)) + bytes(9), "declares 8 bytes, shape .8,., and it holds 9"),
        (header((1,), "|O") + bytes(8), "holds Python objects"),
        (b"no array", "is no array that numpy writes"),
        (b"", "is no array that numpy writes"),
    ],
)
def test_arrays_hold_what_they_declare(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    for mapped in (False, True):
        with pytest.raises(PackedError, match=message):
            read_array(path, mapped=mapped)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("arr_0.npy", content)
    with pytest.raises(PackedError, match=message):
        read_arrays(tmp_path / "a.npz", ("arr_0",))


def test_arrays_come_back(tmp_path: Path) -> None:
    """In C's order and in Fortran's, empty, of no dimension; compressed by less than a hundred."""
    arrays = {
        "a": np.arange(24.0).reshape(2, 3, 4), "b": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "c": np.zeros((0, 3), np.uint8), "d": np.array(2.5), "e": np.array([True, False]),
    }  # fmt: skip
    np.savez_compressed(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        np.save(tmp_path / "one.npy", array)
        assert np.array_equal(read_array(tmp_path / "one.npy"), array)


def test_an_ordinary_command_goes_on(tmp_path: Path) -> None:
    """A large batch of few samples, and more frames than there are steps, are asked for and harmless."""
    outcome = program(
        "--config", GAUSSIAN, "--mode", "sample", "--workdir", tmp_path, sampling__num_samples=3,
        sampling__batch_size=10**9, sampling__num_steps=2,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
