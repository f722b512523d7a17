"""--mode reconstruct: exact on Gaussian data, lossless, resumed, and never over what is there."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from run_lib.config import plans
from run_lib.data.sources import digits
from run_lib.editing import reconstruct as reconstructing
from run_lib.fingerprint import fingerprint
from sde_lib import VPSDE
from sde_lib.grids import register_grid
from tests.run_lib.pictures import pixels_of, random_pixels, save, truncated
from tests.run_lib.planned import planned
from tests.run_lib.program import ROOT, Outcome, program
from tests.run_lib.tiny import get_config as tiny

CONFIG = ROOT / "configs/toy/gaussian_image.py"
STEPS = 10
DISC = np.array([[0.8 if (i - 3.5) ** 2 + (j - 3.5) ** 2 < 9 else -0.8 for j in range(8)] for i in range(8)])
STD = 0.2
"""Of the configuration's density: N(DISC, STD^2 I) in the network's range, [-1, 1]."""


def reconstruct(workdir: Path, source: Path | str, *arguments: str, **overrides: object) -> Outcome:
    """The exact score of 8-bit grey images of 8x8, ten times."""
    settings: dict[str, object] = {
        "data__dataset": "digits",
        "data__levels": 256,
        "reconstruct__num_steps": STEPS,
    }
    return program(
        "--config", CONFIG, "--mode", "reconstruct", "--workdir", workdir,
        f"--config.reconstruct.input={source}", *arguments, **{**settings, **overrides},
    )  # fmt: skip


def table(folder: Path) -> dict[str, float]:
    with (folder / "table.csv").open(newline="") as file:
        return {row["image"]: float(row["error"]) for row in csv.DictReader(file)}


def round_trip(image: np.ndarray) -> np.ndarray:
    """What DDIM up and down the grid makes of an image in [-1, 1], in scalars: for N(mu, c^2) a step from
    (alpha, sigma) to (alpha', sigma') multiplies the deviation from alpha mu by
    (alpha alpha' c^2 + sigma sigma') / (alpha^2 c^2 + sigma^2), and each step is made both ways."""
    grid = register_grid["log_snr"]().times(VPSDE(beta_min=0.1, beta_max=20.0), STEPS).tolist()
    integrals = [0.1 * t + 0.5 * 19.9 * t * t for t in grid]
    levels = [(math.exp(-0.5 * b), math.sqrt(-math.expm1(-b))) for b in integrals]
    factor = 1.0
    for (a, s), (a2, s2) in itertools.pairwise(levels):
        shared = a * a2 * STD**2 + s * s2
        factor *= shared / (a**2 * STD**2 + s**2) * shared / (a2**2 * STD**2 + s2**2)
    centre = levels[-1][0] * DISC
    return centre + factor * (image - centre)


def test_round_trip_of_gaussian_data_is_the_closed_form(tmp_path: Path) -> None:
    """The reconstruction, rounded to 8 bits, the table's error, unrounded, and the counted evaluations."""
    pixels = random_pixels(0)
    save(tmp_path / "in/a.png", pixels)
    assert reconstruct(tmp_path / "run", tmp_path / "in").status == 0
    expected = (np.clip(round_trip(pixels / 127.5 - 1), -1, 1) + 1) / 2
    found = pixels_of(tmp_path / "run/reconstruct/reconstruction/a.png")
    assert np.abs(found / 255 - expected).max() <= 0.5 / 255 + 1e-5
    error = np.abs(expected - pixels / 255).mean()
    assert error > 0.01, "ten steps leave an error worth the name"
    assert table(tmp_path / "run/reconstruct") == {"a.png": pytest.approx(error, abs=1e-5)}
    report = json.loads((tmp_path / "run/reconstruct/report.json").read_text())
    assert report["mean_error"] == pytest.approx(error, abs=1e-5)
    assert (report["count"], report["nfe"]) == (1, 2 * (STEPS - 1))


def test_error_falls_with_the_steps_and_vanishes_for_the_flow(tmp_path: Path) -> None:
    """First order: five times the steps, about a fifth of the error; the probability flow is limited by its
    tolerance."""
    save(tmp_path / "in/a.png", random_pixels(0))
    errors = []
    for n in (20, 100):
        reconstruct(tmp_path / str(n), tmp_path / "in", reconstruct__num_steps=n)
        errors += table(tmp_path / f"{n}/reconstruct").values()
    assert errors[1] == pytest.approx(errors[0] / 5, rel=0.2)
    flow = {"reconstruct__method": "ode", "reconstruct__num_steps": None}
    settings = {k: v for k, v in flow.items() if v is not None}
    outcome = program(
        "--config", CONFIG, "--mode", "reconstruct", "--workdir", tmp_path / "ode",
        "--config.data.dataset=digits", "--config.data.levels=256",
        f"--config.reconstruct.input={tmp_path / 'in'}", **settings,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert table(tmp_path / "ode/reconstruct")["a.png"] < 1e-4


def test_every_format_becomes_png_and_subfolders_stay(tmp_path: Path) -> None:
    """Nothing of a file's format survives in what is written of it, or a detector could learn the format. For
    inputs of 8 bits the three images agree to the bit: difference = |reconstruction - input|."""
    names = ["a.png", "b.jpg", "real/c.webp", "real/d.bmp", "fake/deep/e.jpeg", "same.png", "same.jpg"]
    for seed, name in enumerate(names):
        save(tmp_path / "in" / name, random_pixels(seed))
    (tmp_path / "in/notes.txt").write_text("not an image")
    # WebP has no grey images, so what Pillow reads of one is in colour.
    outcome = reconstruct(tmp_path / "run", tmp_path / "in", reconstruct__convert=True)
    assert outcome.status == 0, outcome.err
    out = tmp_path / "run/reconstruct"
    outputs = {**{name: Path(name).with_suffix(".png").as_posix() for name in names},
               "same.png": "same.png.png", "same.jpg": "same.jpg.png"}  # fmt: skip
    for kind in ("reconstruction", "difference"):
        written = {p.relative_to(out / kind).as_posix() for p in (out / kind).rglob("*") if p.is_file()}
        assert written == set(outputs.values())
        assert all((out / kind / p).read_bytes().startswith(b"\x89PNG") for p in written)
    assert list(table(out)) == sorted(names)
    for name in set(names) - {"real/c.webp"}:
        back, difference = (
            pixels_of(out / kind / outputs[name]) for kind in ("reconstruction", "difference")
        )
        shown = pixels_of(tmp_path / "in" / name).astype(int)
        assert back.ndim == 2
        assert np.array_equal(difference, np.abs(back.astype(int) - shown))


def test_image_does_not_know_its_batch(tmp_path: Path) -> None:
    for seed in range(5):
        save(tmp_path / f"in/{seed}.png", random_pixels(seed))
    for size in (2, 5):
        reconstruct(tmp_path / str(size), tmp_path / "in", reconstruct__batch_size=size)
    a, b = (table(tmp_path / f"{size}/reconstruct") for size in (2, 5))
    assert a == pytest.approx(b, abs=1e-6)


def test_resumes(tmp_path: Path) -> None:
    """What is whole is left alone; a missing file and a line that an interruption cut short are made anew. The
    table is complete either way."""
    for seed in range(4):
        save(tmp_path / f"in/{seed}.png", random_pixels(seed))
    reconstruct(tmp_path / "run", tmp_path / "in")
    out = tmp_path / "run/reconstruct"
    first, text = table(out), (out / "table.csv").read_text()
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    (out / "difference/1.png").unlink()
    (out / "table.csv").write_text(text[:-4])
    outcome = reconstruct(tmp_path / "run", tmp_path / "in")
    assert outcome.status == 0, outcome.err
    assert table(out) == first
    changed = {p.name for p in out.rglob("*.png") if p.stat().st_mtime_ns != stamps[p]}
    assert changed == {"1.png", "3.png"}
    # Images that are added later are done, and no others.
    save(tmp_path / "in/4.png", random_pixels(4))
    reconstruct(tmp_path / "run", tmp_path / "in")
    assert list(table(out)) == [f"{seed}.png" for seed in range(5)]
    assert (out / "difference/0.png").stat().st_mtime_ns == stamps[out / "difference/0.png"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Other settings, another model, or files of somebody else's: an error that names them and says what to do;
    what costs no result (the batch) may change."""
    save(tmp_path / "in/a.png", random_pixels(0))
    reconstruct(tmp_path / "run", tmp_path / "in")
    before = (tmp_path / "run/reconstruct/reconstruction/a.png").read_bytes()
    error = reconstruct(tmp_path / "run", tmp_path / "in", reconstruct__num_steps=20).error
    assert "made with other settings (reconstruct.num_steps: 10 there, 20 now)" in error
    assert "take another folder by --config.reconstruct.output, or move that one away" in error
    error = reconstruct(tmp_path / "run", tmp_path / "in", model__std=0.3).error
    assert "made with other settings (model.std: 0.2 there, 0.3 now)" in error
    assert (tmp_path / "run/reconstruct/reconstruction/a.png").read_bytes() == before
    assert reconstruct(tmp_path / "run", tmp_path / "in", reconstruct__batch_size=3).status == 0
    save(tmp_path / "mine/photo.png", random_pixels(1))
    error = reconstruct(tmp_path / "run", tmp_path / "in", reconstruct__output=tmp_path / "mine").error
    assert "mine holds files that are not of this mode, and nothing of them is overwritten" in error
    error = reconstruct(tmp_path / "run", tmp_path / "in", reconstruct__output=tmp_path / "in/out").error
    assert "would be read as input next time" in error


def test_weights_are_told_apart() -> None:
    """One weight moved by one rounding step is another network: its reconstructions are not resumed."""
    network = torch.nn.Conv2d(1, 2, 3)
    before = fingerprint(network)
    assert fingerprint(network) == before
    with torch.no_grad():
        network.weight[0, 0, 0, 0] = network.weight[0, 0, 0, 0].nextafter(torch.tensor(9.0))
    assert fingerprint(network) != before


def test_unreadable_files_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    """One without a header, one that ends too early: the exit status is 1, and the others are all there."""
    save(tmp_path / "in/a.png", random_pixels(0))
    (tmp_path / "in/b.png").write_bytes(b"no image")
    truncated(tmp_path / "in/sub/c.png", random_pixels(1))
    save(tmp_path / "in/d.bmp", random_pixels(2))
    outcome = reconstruct(tmp_path / "run", tmp_path / "in")
    assert outcome.status == 1
    assert "warning: 2 of 4 images could not be read and were skipped:" in outcome.err
    assert "b.png: it is no image of a kind that is known" in outcome.err
    assert "sub/c.png: it is damaged" in outcome.err
    assert list(table(tmp_path / "run/reconstruct")) == ["a.png", "d.bmp"]
    report = json.loads((tmp_path / "run/reconstruct/report.json").read_text())
    assert [one["image"] for one in report["skipped"]] == ["b.png", "sub/c.png"]


def test_other_sizes_and_channels_are_refused_unless_asked(tmp_path: Path) -> None:
    save(tmp_path / "in/colour.png", random_pixels(0, channels=3))
    save(tmp_path / "in/wide.png", random_pixels(1, height=8, width=12))
    error = reconstruct(tmp_path / "run", tmp_path / "in").error
    assert (
        "not of the data's shape (1, 8, 8): colour.png is colour; wide.png is 8x12 (height x width)" in error
    )
    assert "--config.reconstruct.resize cuts the largest centred box" in error
    assert not (tmp_path / "run/reconstruct").exists()
    outcome = reconstruct(
        tmp_path / "run", tmp_path / "in", reconstruct__convert=True, reconstruct__resize=True
    )
    assert outcome.status == 0, outcome.err
    # The centred box of an 8x12 image is its columns 2 to 9, and 8x8 needs no resampling.
    out = tmp_path / "run/reconstruct"
    back, difference = (
        pixels_of(out / kind / "wide.png").astype(int) for kind in ("reconstruction", "difference")
    )
    assert np.array_equal(difference, np.abs(back - random_pixels(1, height=8, width=12)[:, 2:10]))
    # ITU-R 601 luma, to Pillow's rounding.
    luma = random_pixels(0, channels=3) @ np.array([0.299, 0.587, 0.114])
    back, difference = (
        pixels_of(out / kind / "colour.png").astype(int) for kind in ("reconstruction", "difference")
    )
    assert np.abs(difference - np.abs(back - luma)).max() <= 1


@pytest.mark.parametrize(
    ("overrides", "messages"),
    [
        pytest.param({"input": ""}, ["which images? Set --config.reconstruct.input"], id="no input"),
        pytest.param({"input": "/no/where"}, ["'/no/where' is neither 'test' nor 'train'"], id="missing"),
        pytest.param({"input": "EMPTY"}, ["there are no images in config.reconstruct.input="], id="empty"),
        pytest.param({"input": "DAMAGED"}, ["none of the 1 image files", "can be read"], id="damaged"),
        pytest.param({"input": "NPZ"}, ["arr_0 has the shape (2, 1, 4, 4)", "(1, 8, 8)"], id="npz of a wrong size"),
        pytest.param({"method": "odee"}, ["unknown config.reconstruct.method 'odee'", "mean 'ode'?"], id="method"),
        pytest.param({"method": "ode"}, ["config.reconstruct.num_steps is set", "leave it unset"], id="ode's steps"),
        pytest.param({"num_steps": 1}, ["an inversion takes at least 2 times, got 1"], id="one step"),
        pytest.param({"label": 3}, ["config.reconstruct.label is set, but the network is told no class"], id="label"),
        pytest.param({"batch_size": 0}, ["config.reconstruct.batch_size must be at least 1"], id="batch"),
    ],
)  # fmt: skip
def test_wrong_settings(overrides: dict[str, object], messages: list[str], tmp_path: Path) -> None:
    """One error, before any work: nothing is written."""
    save(tmp_path / "in/a.png", random_pixels(0))
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/a.png").write_bytes(b"no image")
    np.savez(tmp_path / "small.npz", arr_0=np.zeros((2, 1, 4, 4), dtype=np.uint8))
    places = {"EMPTY": tmp_path / "empty", "DAMAGED": tmp_path / "damaged", "NPZ": tmp_path / "small.npz"}
    given = str(overrides.get("input", tmp_path / "in"))
    rest = {f"reconstruct__{name}": value for name, value in overrides.items() if name != "input"}
    error = reconstruct(tmp_path / "run", places.get(given, given), **rest).error
    for message in messages:
        assert message in error
    assert not (tmp_path / "run/reconstruct").exists()


def test_classes_must_be_said(tmp_path: Path) -> None:
    """A network that is told the class is told that of the images: the data set's own, or one for all."""
    save(tmp_path / "in/a.png", random_pixels(0))
    means = tuple(tuple(float(v) for v in m.reshape(-1)) for m in (DISC, -DISC))
    config = tmp_path / "classes.py"
    config.write_text(
        "from configs.toy.mixture_image import get_config as mixture\n\n\ndef get_config():\n"
        "    config = mixture()\n    config.data.dataset = 'digits'\n    config.data.levels = 256\n"
        f"    config.model.means = {means!r}\n    config.model.num_classes = 2\n"
        "    config.reconstruct.num_steps = 5\n    return config\n"
    )
    arguments = ("--config", config, "--mode", "reconstruct", f"--config.reconstruct.input={tmp_path / 'in'}")
    error = program(*arguments, "--workdir", tmp_path / "run").error
    assert "set --config.reconstruct.label=0 to 1, the class of all" in error
    errors = []
    for label in (0, 1):
        outcome = program(*arguments, "--workdir", tmp_path / str(label), reconstruct__label=label)
        assert outcome.status == 0, outcome.err
        errors += table(tmp_path / f"{label}/reconstruct").values()
    assert abs(errors[0] - errors[1]) > 0.01, "another class, another way back"


def test_split_of_the_data_set(tmp_path: Path) -> None:
    """``test`` reads the data set's images, without a file of them; levels of any number become 8 bits."""
    outcome = program(
        "--config", CONFIG, "--mode", "reconstruct", "--workdir", tmp_path, "--config.reconstruct.input=test",
        data__dataset="digits", data__levels=17, reconstruct__num_steps=3, reconstruct__num_images=4,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert list(table(tmp_path / "reconstruct")) == ["00000", "00001", "00002", "00003"]
    back, difference = (
        pixels_of(tmp_path / f"reconstruct/{kind}/00002.png").astype(int)
        for kind in ("reconstruction", "difference")
    )
    level = digits("test").images[2, 0].numpy() / 16 * 255
    assert np.abs(difference - np.abs(back - torch.tensor(level).round().numpy())).max() == 0


def test_what_is_beyond_white_and_black_is_white_and_black(tmp_path: Path) -> None:
    """In pictures and in errors: a white pixel that comes back as 1.5 has no error, a grey one of 0.5 has 0.5."""
    data = planned(tiny(), plans.sampling, {"data__uniform_dequantization": False}).data
    unit = torch.tensor([[1.0, 0.5], [0.0, 0.5]]).reshape(1, 1, 2, 2)
    back = torch.tensor([[1.5, 1.5], [-0.5, -0.5]]).reshape(1, 1, 2, 2)
    found = reconstructing._outputs(data, data.from_intensity(unit), data.from_intensity(back))
    reconstructing._write(tmp_path, ["a.png"], found["pixels"])
    assert found["errors"].tolist() == [pytest.approx((0 + 0.5 + 0 + 0.5) / 4)]
    assert pixels_of(tmp_path / "reconstruction/a.png").tolist() == [[255, 255], [0, 0]]
