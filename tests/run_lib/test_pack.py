"""Packing: what comes out, by one process, by several, after a run that was killed; and measuring."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from run_lib.config import plans
from run_lib.data.formed import npy
from run_lib.data.rows import Rows
from run_lib.data.sources import digits
from run_lib.data.split import Arrays
from run_lib.preparation import pack as packing
from run_lib.preparation import stats as measuring
from run_lib.preparation.stats import measure
from run_lib.processes import Processes
from run_lib.run import Run
from tests.run_lib.pictures import save
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, program, run
from tests.run_lib.tiny import get_config as tiny

FOLDER: dict[str, Any] = {"data__dataset": "folder", "data__levels": 256, "data__test_fraction": 0.0}


def write(root: Path, count: int = 20) -> dict[str, Any]:
    """Images 8x8 of classes cat and dog, image k filled with k; the fields that read them."""
    for k in range(count):
        save(root / f"{'cat' if k % 2 else 'dog'}/{k:02d}.png", np.full((8, 8), k, np.uint8))
    return {**FOLDER, "data__root": str(root)}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images of 64 bytes in each."""
    monkeypatch.setattr(packing, "BLOCK", 200)


def packed(folder: Path) -> tuple[list[int], list[int], tuple[str, ...]]:
    found = npy(folder, "train", 0.0)
    return found.images[:, 0, 7, 7].tolist(), found.labels.tolist(), found.classes


def work(fields: dict[str, Any], out: Path) -> None:
    packing.pack(planned(tiny(), plans.preparation, {**fields, "pack__path": str(out)}), Run(out))


def test_a_packed_data_set_is_the_data_set(tmp_path: Path) -> None:
    """Cats first, as the folders are sorted; and it trains as its files do, bit for bit."""
    fields = write(tmp_path / "in")
    workdir = tmp_path / "run"
    said = run(TINY, "pack", workdir, **fields).out
    order = [*range(1, 20, 2), *range(0, 20, 2)]
    assert packed(workdir / "packed") == (order, [1 - k % 2 for k in order], ("cat", "dog"))
    assert "no test split is packed: the data have no test split" in said
    assert not [path for path in (workdir / "packed").iterdir() if path.name.startswith(".")]
    assert "is there already" in run(TINY, "pack", workdir, **fields).out
    other = program("--config", TINY, "--mode", "pack", "--workdir", workdir, data__dataset="digits")
    assert "holds something else and is not overwritten" in other.error
    weights = []
    npy_fields = {"data__dataset": "npy", "data__root": workdir / "packed", "data__levels": 256}
    for number, source in enumerate((fields, {**npy_fields, "data__test_fraction": 0.0})):
        out = tmp_path / str(number)
        run(TINY, "train", out, **source, training__n_iters=2, data__num_workers=0, model__num_classes=2)
        payload = torch.load(out / "checkpoints/step_00000002.pt", weights_only=True)
        assert payload["classes"] == ["cat", "dog"]
        weights.append(payload["model"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.usefixtures("small_blocks")
def test_a_run_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven blocks; the third write is the last. The next run reads what is missing, and nothing else."""
    fields, out = write(tmp_path / "in"), tmp_path / "out"
    writes: list[int] = []

    def sync(number: int) -> None:
        writes.append(number)
        if len(writes) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fdatasync", sync)
    with pytest.raises(KeyboardInterrupt):
        work(fields, out)
    assert not (out / "train.npy").exists()
    unfinished = [out / f".packing-train.{end}" for end in ("npy", "done", "plan")]
    before = [path.read_bytes() for path in unfinished]
    with pytest.raises(ValueError, match="is unfinished and of other data: move it away, with") as refused:
        work(write(tmp_path / "other", 4), out)
    assert all(path.name in str(refused.value) for path in unfinished)
    assert [path.read_bytes() for path in unfinished] == before
    writes += [0, 0]
    (tmp_path / "in/cat/01.png").write_bytes(b"was packed before, and is not read again")
    work(fields, out)
    assert len(writes) == 5 + 5
    assert packed(out)[0] == [*range(1, 20, 2), *range(0, 20, 2)]
    assert sorted(path.name for path in out.iterdir()) == ["train.json", "train.labels.npy", "train.npy"]


@pytest.mark.usefixtures("small_blocks")
def test_a_run_that_was_killed_at_its_very_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has its name, and what it was made by is still there; the next run takes it away."""
    fields, out = write(tmp_path / "in"), tmp_path / "out"
    whole = packing._Packing._tidy
    monkeypatch.setattr(packing._Packing, "_tidy", lambda self, blocks: None)
    work(fields, out)
    assert (out / ".packing-train.done").is_file() and (out / ".packing-train.plan").is_file()
    monkeypatch.setattr(packing._Packing, "_tidy", whole)
    work(fields, out)
    assert sorted(path.name for path in out.iterdir()) == ["train.json", "train.labels.npy", "train.npy"]


@pytest.mark.usefixtures("small_blocks")
def test_several_processes_write_rows_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two, then the first: every block once, and the file is that of one process."""
    monkeypatch.setattr(Processes, "barrier", lambda self: None)
    fields = write(tmp_path / "in")
    split = planned(tiny(), plans.preparation, fields).data.load("train")
    read: list[int] = []
    kept = type(split.rows).read

    def noted(self: Rows, indices: Any) -> Any:
        read.extend(np.asarray(indices).tolist())
        return kept(self, indices)  # type: ignore[arg-type]

    monkeypatch.setattr(type(split.rows), "read", noted)
    packings = [packing._Packing(split, tmp_path / "train.npy", "it", 0, Processes(k, 2)) for k in (0, 1)]
    packings[0]._begin(20, 7)
    packings[1].run()
    assert read == [3, 4, 5, 9, 10, 11, 15, 16, 17]
    assert not (tmp_path / "train.npy").exists()
    packings[0].run()
    assert sorted(read) == list(range(20))
    assert packed(tmp_path)[0] == [*range(1, 20, 2), *range(0, 20, 2)]


@pytest.mark.usefixtures("small_blocks")
def test_samples_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    """Two of 20, one among the last: the last that is whole takes the place of the first. One too many is refused."""
    fields = write(tmp_path / "in")
    for name in ("cat/03.png", "dog/16.png"):
        (tmp_path / "in" / name).write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"(?s)cannot be read.*data\.max_corrupt=1"):
        work({**fields, "data__max_corrupt": 1}, tmp_path / "out")
    work({**fields, "data__max_corrupt": 2}, tmp_path / "out")
    found, labels, _ = packed(tmp_path / "out")
    assert found == [1, 18, 5, 7, 9, 11, 13, 15, 17, 19, 0, 2, 4, 6, 8, 10, 12, 14]
    assert labels == [1 - k % 2 for k in found]
    left = json.loads((tmp_path / "out/train.json").read_text())["left_out"]
    assert ["03.png" in left[0], "16.png" in left[1]] == [True, True]


def test_moments_and_distances_of_the_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As numpy and scipy have them; of a set that counts as large, bounds with the truth between them."""
    data = digits("train").as_split()
    pixels = data.images.flatten(1).double().numpy()
    moments, distance = measure(data)
    assert moments.count == 1437
    assert (moments.lowest, moments.highest, len(moments.levels)) == (0, 16, 17)
    assert moments.mean.tolist() == pytest.approx([pixels.mean()], rel=1e-12)
    assert moments.std.tolist() == pytest.approx([pixels.std()], rel=1e-12)
    truth = pdist(pixels).max()
    assert distance.least == distance.most == pytest.approx(truth, rel=1e-12)
    monkeypatch.setattr(measuring, "EXACT", 100)
    monkeypatch.setattr(measuring, "SAMPLE", 200)
    _, bounds = measure(data)
    assert 0.9 * truth < bounds.least <= truth * (1 + 1e-12)
    assert truth <= bounds.most < 2 * truth


def test_moments_by_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks of one image; the deviation of all values counts the channels' means too."""
    monkeypatch.setattr("run_lib.data.rows.CHUNK", 1)
    images = np.random.default_rng(0).normal(size=(9, 2, 3, 4)) * [[[[1]], [[5]]]] + [[[[0]], [[7]]]]
    moments, _ = measure(Arrays(torch.from_numpy(images), torch.zeros(9)).as_split())
    assert moments.mean.tolist() == pytest.approx(images.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert moments.std.tolist() == pytest.approx(images.std((0, 2, 3)).tolist(), rel=1e-12)
    assert moments.whole_std == pytest.approx(images.std(), rel=1e-12)
    assert moments.levels == set()


def test_auto_takes_what_was_measured(tmp_path: Path) -> None:
    """In the network's range: levels of 17 over [-1, 1], dequantised, are 2/17 apart. Without stats, an error."""
    VE = {"training__sde": "vesde", "training__likelihood_weighting": False, "model__sigma_max": "auto"}
    fields: dict[str, Any] = {"data__root": str(tmp_path / "data")}
    (tmp_path / "data").mkdir()
    found = program("--config", TINY, "--mode", "describe", "--workdir", tmp_path, **fields, **VE)
    assert "takes it from" in found.error
    assert "run --mode stats first" in found.error
    said = run(TINY, "stats", tmp_path / "run", **fields).out
    (measured,) = json.loads((tmp_path / "data/stats.json").read_text()).values()
    assert (measured["count"], measured["test_count"]) == tuple(
        len(digits(s).labels) for s in ("train", "test")
    )
    pixels = digits("train").images.flatten(1).double().numpy()
    largest = pdist(pixels).max() * 2 / 17
    assert f"sigma_max     {largest:.4g} for VE, the largest distance of two samples (exactly)" in said
    assert "17 levels in use" in said
    plan = planned(tiny(), plans.sampling, {**fields, **VE})
    assert plan.model.process.sigma_max == pytest.approx(largest, rel=1e-6)
    assert plan.subject.record.values["model"]["sigma_max"] == pytest.approx(largest, rel=1e-12)
    held = json.loads((tmp_path / "data/stats.json").read_text())
    assert sum(next(iter(held.values()))["classes"].values()) == 1437


def test_measurements_of_data_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go to the work directory, and the message says where they are looked for."""
    monkeypatch.setattr(measuring, "_writable", lambda path: False)
    (tmp_path / "data").mkdir()
    said = run(TINY, "stats", tmp_path / "run", data__root=str(tmp_path / "data")).out
    assert (tmp_path / "run/stats.json").is_file()
    assert not (tmp_path / "data/stats.json").exists()
    assert f"{tmp_path / 'data'} cannot be written to; for auto, copy the file there" in said
