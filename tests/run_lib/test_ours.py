"""What is not ours is never touched: files of the user's, records of a training, places outside the work directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from run_lib.training.checkpoints import Checkpoints
from tests.run_lib.pictures import random_pixels, save
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, program, run

IMAGES = ROOT / "configs/toy/gaussian_image.py"
FEW = {"sampling__num_samples": 4, "sampling__num_steps": 2}
SWEEP = {
    "sampling__num_steps": 2,
    "sampling__corrector": "langevin",
    "tune__sweep": "snr=0.1,0.2",
    "tune__repeats": 2,
    "tune__num_samples": 200,
    "tune__rows": 0,
}
EVAL = {"eval__enable_bpd": True, "eval__bpd_num_images": 2}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder; a folder is None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def fill(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


THEIRS = {"results/holiday.png": "mine", "grid.png": "mine", "report.json": "mine"}
# A folder of the user's, what is run on it, and what the message says of it.
FOLDERS = {
    "control": ("control", IMAGES, "out", {"settings.json": '{"theme": "dark"}', **THEIRS}, {"num_images": 1}),
    "control, another program's": (
        "control", IMAGES, "out", {"settings.json": '{"made_by": "another", "task": 1}', **THEIRS}, {"num_images": 1},
    ),
    "reconstruct": ("reconstruct", IMAGES, "out", {"settings.json": '{"theme": "dark"}'}, {"input": "test"}),
    "samples": ("sample", GAUSSIAN, "run/samples", {"samples.npz": "mine"}, {}),
    "samples, settings": ("sample", GAUSSIAN, "run/samples", {"settings.json": "{}"}, {}),
    "samples, frames": ("sample", GAUSSIAN, "run/samples", {"trajectory/frame_0000.png": "mine"}, {}),
    "samples, images": ("sample", GAUSSIAN, "run/samples", {"png/00000.png": "mine"}, {}),
    "samples, images of a class": ("sample", GAUSSIAN, "run/samples", {"png/00001/00000.png": "mine"}, {}),
    "tune": ("tune", GAUSSIAN, "run/tune", {"table.csv": "mine"}, {}),
    "tune, settings": ("tune", GAUSSIAN, "run/tune", {"settings.json": '{"theme": "dark"}'}, {}),
    "eval": ("eval", GAUSSIAN, "run/eval", {"parts/a.npz": "mine", "table.csv": "mine"}, {}),
    "eval, report": ("eval", GAUSSIAN, "run/eval", {"report.json": '{"numbers": {"a": 1}}'}, {}),
    "convert": ("convert", TINY, "run/converted", {"safetensors_00000000.safetensors": "mine"}, {"to": "safetensors"}),
    "train": ("train", TINY, "run", {"config.json": '{"seed": 1, "model": "mine"}'}, {}),
}  # fmt: skip
EXTRA = {"tune": SWEEP, "eval": EVAL, "sample": FEW}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_of_the_user_s_stays_as_it_is(case: str, tmp_path: Path) -> None:
    """Refused by name, with what to do; nothing in it is changed, and nothing added."""
    mode, config, place, files, fields = FOLDERS[case]
    if case == "convert":
        run(TINY, "train", tmp_path / "run", training__n_iters=1)
        files = {"safetensors_00000001.safetensors": "mine"}
    fill(tmp_path / place, **{name.replace("/", "__"): text for name, text in files.items()})
    if place == "out":
        fields = {**fields, "output": tmp_path / "out"}
    before = contents(tmp_path / place)
    given = {f"{mode}__{name}": value for name, value in fields.items()} | EXTRA.get(mode, {})
    error = program("--config", config, "--mode", mode, "--workdir", tmp_path / "run", **given).error
    assert str(tmp_path / place) in error
    assert any(option in error for option in ("--config.", "--workdir", "--eval_folder"))
    assert "delete" not in error
    assert contents(tmp_path / place) == before


def test_results_of_the_user_s_stay_among_ours(tmp_path: Path) -> None:
    """Of the results of an earlier run, those that it wrote are removed. Another file stays; where a result would
    take its name, the run is refused."""
    for seed in range(3):
        save(tmp_path / f"in/{seed}.png", random_pixels(seed))
    out = tmp_path / "out"
    fields = {
        "control__input": tmp_path / "in", "control__output": out, "data__dataset": "digits", "data__levels": 256,
        "sampling__num_steps": 2,
    }  # fmt: skip
    run(IMAGES, "control", tmp_path / "run", **fields, control__num_images=2)
    (out / "results/holiday.png").write_bytes(b"mine")
    run(IMAGES, "control", tmp_path / "run", **fields, control__num_images=1)
    assert {p.name for p in (out / "results").iterdir()} == {"0.png", "holiday.png"}
    (out / "results/2.png").write_bytes(b"mine")
    before = contents(out)
    command = ("--config", IMAGES, "--mode", "control", "--workdir", tmp_path / "run")
    error = program(*command, **fields, control__num_images=3).error
    assert "holds files, such as results/2.png, that are not of this mode" in error
    assert contents(out) == before
    # A record cannot point the program at other files.
    held = json.loads((out / "settings.json").read_text())
    (tmp_path / "precious.png").write_bytes(b"mine")
    held["files"] = ["../precious.png", "results/../../precious.png", str(tmp_path / "precious.png"), 7]
    (out / "settings.json").write_text(json.dumps(held))
    (out / "results/0.png").unlink()
    run(IMAGES, "control", tmp_path / "run", **fields, control__num_images=1)
    assert (tmp_path / "precious.png").read_bytes() == b"mine"


def test_samples_of_other_settings_are_kept(tmp_path: Path) -> None:
    """``samples/`` has the latest. Those of another seed are in ``samples/earlier``, to the bit; a note of the
    user's stays where it is."""
    samples = tmp_path / "samples"
    first = run(GAUSSIAN, "sample", tmp_path, **FEW, seed=1)
    assert "earlier" not in first.out
    held = {name: (samples / name).read_bytes() for name in ("samples.npz", "samples.png", "samples.json")}
    (samples / "notes.txt").write_text("mine")
    again = run(GAUSSIAN, "sample", tmp_path, **FEW, seed=1)
    assert "earlier" not in again.out
    assert not (samples / "earlier").exists()
    held["samples.json"] = (samples / "samples.json").read_bytes()  # its seconds
    second = run(GAUSSIAN, "sample", tmp_path, **FEW, seed=2)
    (place,) = (samples / "earlier").iterdir()
    assert f"earlier    {place}, of other settings" in second.out
    assert {p.name: p.read_bytes() for p in place.iterdir() if p.name in held} == held
    assert (samples / "notes.txt").read_text() == "mine"
    with np.load(samples / "samples.npz") as new, np.load(place / "samples.npz") as old:
        assert not np.array_equal(new["arr_0"], old["arr_0"])
    run(GAUSSIAN, "sample", tmp_path, **FEW, seed=1)
    assert (samples / "samples.npz").read_bytes() == (place / "samples.npz").read_bytes()
    assert len(list((samples / "earlier").iterdir())) == 2


def test_samples_of_the_program_before_are_kept(tmp_path: Path) -> None:
    """They have no record but ``samples.json``."""
    run(GAUSSIAN, "sample", tmp_path, **FEW)
    (tmp_path / "samples/settings.json").unlink()
    before = (tmp_path / "samples/samples.npz").read_bytes()
    run(GAUSSIAN, "sample", tmp_path, **FEW, seed=3)
    (place,) = (tmp_path / "samples/earlier").iterdir()
    assert (place / "samples.npz").read_bytes() == before


@pytest.mark.slow
def test_only_training_writes_the_record_of_a_training(tmp_path: Path) -> None:
    """``config.json`` is how the weights were made, whatever is done with them; a training without a step left is
    none."""
    run(TINY, "train", tmp_path, optim__lr=0.003, training__n_iters=1)
    record = (tmp_path / "config.json").read_bytes()
    assert json.loads(record)["optim"]["lr"] == 0.003
    image = {"reconstruct__input": "test", "reconstruct__num_images": 1, "reconstruct__num_steps": 2}
    (tmp_path / "exact").mkdir()
    (tmp_path / "exact/config.json").write_bytes(record)
    for config, mode, fields in (
        (TINY, "describe", {}),
        (TINY, "convert", {"convert__to": "safetensors"}),
        (TINY, "train", {"optim__lr": 0.1, "training__n_iters": 1}),
        (GAUSSIAN, "sample", FEW),
        (GAUSSIAN, "eval", EVAL),
        (GAUSSIAN, "tune", SWEEP),
        (GAUSSIAN, "all", {**FEW, **EVAL}),
        (IMAGES, "control", {"control__num_images": 1}),
        (IMAGES, "reconstruct", image),
    ):
        workdir = tmp_path if config == TINY else tmp_path / "exact"
        run(config, mode, workdir, *(["--eval_folder", mode] if mode in ("eval", "all") else []), **fields)
        assert (workdir / "config.json").read_bytes() == record, mode
    run(GAUSSIAN, "sample", tmp_path / "new", **FEW)
    assert not (tmp_path / "new/config.json").exists()


@pytest.mark.parametrize("name", ["../x", "a/../../x", "ABSOLUTE", ".", ""])
def test_folders_in_the_work_directory_lie_in_it(name: str, tmp_path: Path) -> None:
    place = str(tmp_path / "x") if name == "ABSOLUTE" else name
    command = ("--config", GAUSSIAN, "--workdir", tmp_path / "run", "--mode")
    for arguments, option, fields in (
        (("eval", f"--eval_folder={place}"), "--eval_folder", EVAL),
        (("tune", f"--config.tune.folder={place}"), "--config.tune.folder", SWEEP),
    ):
        error = program(*command, *arguments, **fields).error
        said = place or "''"
        assert f"{option}={said} must be the name of a folder in the work directory" in error
        assert not (tmp_path / "x").exists()
        assert contents(tmp_path / "run") == {}


@pytest.mark.parametrize(
    ("link", "mode", "fields"),
    [
        ("samples", "sample", FEW),
        ("eval", "eval", EVAL),
        ("eval/parts", "eval", EVAL),
        ("tune", "tune", SWEEP),
        (
            "checkpoints",
            "tune",
            {"tune__grid": True, "tune__pilot_samples": 2, "sampling__predictor": "adams"},
        ),
        ("tensorboard", "train", {}),
    ],
)
def test_links_do_not_lead_outside(link: str, mode: str, fields: dict[str, object], tmp_path: Path) -> None:
    """A link in a work directory, which may have come with it, is not the command line."""
    outside, place = tmp_path / "outside", tmp_path / "run" / link
    outside.mkdir()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside)
    config = TINY if mode == "train" else GAUSSIAN
    command = ("--config", config, "--mode", mode, "--workdir", tmp_path / "run")
    error = program(*command, **fields).error
    assert f"{place} is a link to {outside}, outside {tmp_path / 'run'}" in error
    assert list(outside.iterdir()) == []
    # The work directory itself is named on the command line, and may be a link; so may what stays inside.
    place.unlink()
    place.symlink_to(tmp_path / "run")
    (tmp_path / "named").symlink_to(tmp_path / "run")
    run(GAUSSIAN, "sample", tmp_path / "named", **FEW)


def test_links_of_a_named_output(tmp_path: Path) -> None:
    """Inside a folder that the command line names, a link is its content and leads nowhere."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    fields = {"control__num_images": 1, "control__output": out}
    run(IMAGES, "control", tmp_path / "run", **fields)
    (out / "results/00000.png").unlink()
    (out / "results").rmdir()
    (out / "results").symlink_to(outside)
    error = program("--config", IMAGES, "--mode", "control", "--workdir", tmp_path / "run", **fields).error
    assert "results is a link to" in error
    assert list(outside.iterdir()) == []


def test_only_checkpoints_of_ours_are_cleared_away(tmp_path: Path) -> None:
    """Six steps, a checkpoint every two, kept every six: of ours the last two. What only has the name stays."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    torch.save({"format": "another program's", "step": 1}, folder / "step_00000001.pt")
    (folder / "step_00000000.pt").write_bytes(b"no archive")
    torch.save({"x": 1}, tmp_path / "elsewhere.pt")
    (folder / "step_00000003.pt").symlink_to(tmp_path / "elsewhere.pt")
    (folder / "step_5.pt").write_bytes(b"mine")
    ours = tmp_path / "ours"
    run(TINY, "train", ours)
    for step in (4, 6):
        (ours / f"checkpoints/step_0000000{step}.pt").rename(folder / f"step_0000000{step}.pt")
    (folder / "step_00000002.pt").write_bytes((folder / "step_00000004.pt").read_bytes())
    Checkpoints(folder).keep(multiple_of=6, regular=1)
    left = {p.name for p in folder.iterdir()}
    assert left == {f"step_0000000{n}.pt" for n in (0, 1, 3, 4, 6)} | {"step_5.pt"}
