"""What a library says of a damaged file or a full memory is not for users: it misleads. Each is said in our words."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.data.forms import UnreadableError, decode
from run_lib.faults import machines_fault
from tests.run_lib.image_forms import damaged_exif
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, Outcome, program
from tests.run_lib.test_sizes import bomb_png

IMAGES = ROOT / "configs/toy/gaussian_image.py"
MISLEADING = (
    "Error:", "file an issue", "allow_pickle", "weights_only", "elete", "emove it", "__init__", "positional argument",
    "has no attribute", "DOS attack", "pytorch.org", "PYTORCH", "codec", "invalid literal", "could not convert",
    "not subscriptable", "zip file", "password", "LOAD_TRUNCATED", "object is not", "object of type", "enforce fail",
)  # fmt: skip
DIGITS = {"data__dataset": "digits", "data__levels": 256, "sampling__num_steps": 2}


def ours(said: str) -> str:
    """What was printed, if no library speaks in it."""
    assert "Traceback" not in said
    for text in MISLEADING:
        assert text not in said, said
    return said


def picture(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


KINDS = ("png", "jpeg", "gif", "bmp", "tiff", "webp")
PICTURES = {
    **{f"half.{kind}": picture(kind)[: len(picture(kind)) // 2] for kind in KINDS},
    "sum.png": flipped(picture("png"), 60),
    "header.png": picture("png")[:20],
    "entries.tiff": flipped(picture("tiff"), 4)[:200],
    "empty.png": b"",
    "text.jpg": b"no image at all",
    "page.png": b"<html><body>404</body></html>",
}  # fmt: skip


def test_damaged_images(tmp_path: Path) -> None:
    """Each of them is listed, and the whole one beside them is worked on."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in PICTURES.items():
        (folder / name).write_bytes(content)
    Image.new("L", (8, 8), 7).save(folder / "whole.png")
    outcome = program(
        "--config", IMAGES, "--mode", "control", "--workdir", tmp_path / "run", control__input=folder,
        control__output=tmp_path / "out", control__task="inpaint",
        control__num_images=0, control__resize=True, control__convert=True, **DIGITS,
    )  # fmt: skip
    assert outcome.status == 1, outcome.err
    assert f"{len(PICTURES)} of {len(PICTURES) + 1} images could not be read" in outcome.err
    for name in PICTURES:
        (line,) = [line for line in outcome.err.splitlines() if line.strip().startswith(f"{name}: ")]
        assert "it is damaged" in line or "it is no image of a kind that is known" in line
    ours(outcome.err)


def test_what_a_library_says_of_what_lies_beside_the_pixels(tmp_path: Path) -> None:
    """Pillow warns of damaged EXIF data where they are read; the pixels are whole."""
    damaged_exif(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in tmp_path.iterdir():
            decode(path)
    assert caught == []


def test_an_image_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    """The system's words, which are true, and not that it is damaged: a folder has the image's name."""
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UnreadableError, match=r"^Is a directory$"):
        decode(tmp_path / "a.png")


def test_memory_that_is_short_is_no_damage_of_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_(*args: object) -> None:
        raise MemoryError

    (tmp_path / "a.png").touch()
    monkeypatch.setattr("run_lib.data.forms.Image.open", open_)
    with pytest.raises(MemoryError):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize("side", [9_460, 13_370])
def test_an_image_of_once_to_twice_the_limit_is_refused_without_a_warning(side: int, tmp_path: Path) -> None:
    """Of Pillow's 89,478,485 pixels; it warns up to twice as many (13,377 squared), and reads them all."""
    bomb_png(tmp_path / "a.png", side)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(UnreadableError, match="it has more than 89478485 pixels, which are not read"):
            decode(tmp_path / "a.png")
    assert caught == []


def archive(change: Callable[[bytes], bytes] = bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file, file.open("arr_0.npy", "w") as member:
        np.save(member, np.full((4, 1, 8, 8), 3, np.uint8))
    return change(stream.getvalue())


def flagged(content: bytes, offset: int, value: int) -> bytes:
    """An archive whose entry and directory have another value of two bytes: its flags, or how it is packed."""
    held = bytearray(content)
    for start, further in ((held.index(b"PK\x03\x04"), 0), (held.index(b"PK\x01\x02"), 2)):
        held[start + offset + further : start + offset + further + 2] = value.to_bytes(2, "little")
    return bytes(held)


def objects() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, arr_0=np.array([{"a": 1}, None], dtype=object))
    return stream.getvalue()


def listed() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, images=np.zeros((4, 1, 8, 8), np.uint8))
    return stream.getvalue()


ARCHIVES = {
    "text": (b"no archive", "is damaged, encrypted, or no archive of arrays"),
    "cut": (archive()[:-40], "is damaged, encrypted, or no archive of arrays"),
    "sum": (archive(lambda held: flipped(held, 300)), "is damaged, encrypted, or no archive of arrays"),
    "encrypted": (
        archive(lambda held: flagged(held, 6, 1)),
        "is damaged, encrypted, or no archive of arrays",
    ),
    "packed": (archive(lambda held: flagged(held, 8, 9)), "is damaged, encrypted, or no archive of arrays"),
    "objects": (objects(), "holds Python objects"),
    "named": (listed(), "has no array 'arr_0'"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archives(name: str, tmp_path: Path) -> None:
    content, wanted = ARCHIVES[name]
    (tmp_path / "a.npz").write_bytes(content)
    said = program(
        "--config", IMAGES, "--mode", "control", "--workdir", tmp_path / "run", control__input=tmp_path / "a.npz",
        control__task="inpaint", **DIGITS,
    ).error  # fmt: skip
    assert wanted in ours(said)
    assert "a.npz" in said


def folder(tmp_path: Path, config: str | bytes, weights: bytes = b"") -> Path:
    """A diffusers folder with the given bytes."""
    found = tmp_path / "model"
    found.mkdir()
    (found / "config.json").write_bytes(config.encode() if isinstance(config, str) else config)
    (found / "diffusion_pytorch_model.safetensors").write_bytes(weights)
    return found


@pytest.mark.parametrize(
    "config", ["{", "[" * 100_000, b"\xff\xfe{", "", "[]", "{}"], ids=["cut", "deep", "bytes", "none", "list", "empty"]
)  # fmt: skip
def test_damaged_folders_of_diffusers(config: str | bytes, tmp_path: Path) -> None:
    said = program(
        "--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run", init_from=folder(tmp_path, config)
    ).error  # fmt: skip
    assert str(tmp_path / "model") in ours(said)


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '"text"', "{}", '{"numbers": 3}', '{"numbers": [3]}', '{"numbers": [{"name": "bpd"}]}',
        '{"numbers": [], "made_from": {"a": 3}}', '{"numbers": [], "lost": [{"kind": 1}]}', "[" * 100_000,
        '{"numbers": [], "made_from": {"a": "ab"}}', "\xff",
    ],
)  # fmt: skip
def test_a_report_of_another_program(content: str, tmp_path: Path) -> None:
    path = tmp_path / "eval/report.json"
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    said = program("--config", GAUSSIAN, "--mode", "eval", "--workdir", tmp_path).error
    assert f"{path} is no report of ours: it " in ours(said)
    assert "Move it away" in said


@pytest.mark.slow
@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"grids": 3}', '{"grids": [{"purpose": 1}]}'])
def test_times_of_another_program(content: str, tmp_path: Path) -> None:
    command = ("--config", GAUSSIAN, "--mode", "sample", "--workdir", tmp_path)
    options = {"sampling__predictor": "ddim", "sampling__num_steps": 3}
    made = program(*command[:3], "tune", *command[4:], tune__grid=True, **options)
    assert made.status == 0, made.err
    (path,) = tmp_path.rglob("*grid*.json")
    path.write_text(content)
    said = program(*command, sampling__grid="optimised", **options).error
    assert f"{path} holds no time grids of ours: it " in ours(said)
    assert path.read_text() == content


@pytest.mark.parametrize("content", ["", "\n", "a,b\n", "image,other\nx,1\n", '"', "image,bpd\nx\n", "\x00"])
def test_a_table_of_another_program(content: str, tmp_path: Path) -> None:
    from run_lib.editing.image_table import ImageTable

    path = tmp_path / "distances.csv"
    path.write_text(content)
    if content in ("", '"', "\x00"):  # no whole line: what an interrupted write may leave
        content += "\n"
        path.write_text(content)
    with pytest.raises(
        ValueError, match="is no table of images and distances, whose first line is image,dist"
    ) as e:
        ImageTable(path, "distance", float)
    ours(str(e.value))
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB. If reserved "
                "memory is large try setting PYTORCH_CUDA_ALLOC_CONF (https://pytorch.org/docs)"
            ),
            "there is too little memory (2.00 GiB could not be had). Lower",
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 4096 bytes. Error code 12"
            ),
            "there is too little memory (4096 bytes could not be had). Lower",
        ),
        (MemoryError(), "there is too little memory. Lower"),
        (MemoryError("Unable to allocate 3.5 TiB for an array"), "memory (3.5 TiB could not be had). Lower"),
    ],
    ids=["cuda", "cpu", "python", "numpy"],
)  # fmt: skip
def test_memory(error: Exception, said: str) -> None:
    found = machines_fault(error)
    assert found is not None
    assert said in ours(found)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("sampling.num_steps", "many", "a whole number is expected."),
        ("optim.lr", "fast", "a number is expected."),
        ("data.image_size", "big", "a whole number or a tuple such as (1,2) is expected."),
        ("model.ch_mult", "(" * 5_000, "a tuple such as (1,2) is expected."),
        ("model.ch_mult", "{[]:1}", "a tuple such as (1,2) is expected."),
        ("seed", "9" * 5_000, "a whole number is expected."),
        ("optim.grad_clip", "1e", "a number is expected."),
        ("data.centered", "maybe", "true or false is expected."),
        ("device", "cudda", "config.device=cudda cannot be used: beside the cpu there is "),
        ("device", "meta:x", "config.device=meta:x cannot be used: beside the cpu there is "),
    ],
)  # fmt: skip
def test_values_on_the_command_line(field: str, value: str, said: str, tmp_path: Path) -> None:
    outcome: Outcome = program(
        "--config", TINY, "--mode", "sample", "--workdir", tmp_path, f"--config.{field}={value}"
    )  # fmt: skip
    assert said in ours(outcome.error)


def test_json_that_a_user_edits_says_where_it_is_wrong(tmp_path: Path) -> None:
    """That text of Python's is true and needed."""
    (tmp_path / "mine.json").write_text('{"snr": 0.1,\n "eta": }')
    said = program("--config", TINY, "--mode", "sample", f"--config.sampling={tmp_path / 'mine.json'}").error
    assert "is no JSON (Expecting value: line 2 column 9" in said
    (tmp_path / "mine.json").write_text(json.dumps({"snr": [[[0.1]]]}))
    ours(program("--config", TINY, "--mode", "sample", f"--config.sampling={tmp_path / 'mine.json'}").error)
