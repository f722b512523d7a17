"""The batches of training steps: one order, whoever reads; what cannot be read; what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from run_lib.data import order
from run_lib.data.batches import Batches, Reading
from run_lib.data.folders import read_split
from run_lib.data.levels import DataSpec
from run_lib.data.order import shuffled_rows
from run_lib.data.split import Arrays, Split
from run_lib.data.user_sets import as_split
from run_lib.faults import machines_fault
from tests.run_lib.pictures import save
from tests.run_lib.program import TINY, numbers, program, run

SHAPE = (1, 2, 2)


def folder(root: Path, count: int = 10) -> Split:
    """Image k is filled with k; its class is k mod 2."""
    for k in range(count):
        save(root / f"train/{'ab'[k % 2]}/{k:02d}.png", np.full((2, 2), k, np.uint8))
    return read_split(root, "train", SHAPE)


def seen(batches: Batches, steps: Iterator[int] | range, part: int = 4) -> list[int]:
    """The values of the images that steps of four see."""
    found = []
    with batches:
        for step in steps:
            for start in range(0, 4, part):
                drawn = batches.take(step, range(start, min(start + part, 4)))
                found += drawn.images[:, 0, 0, 0].tolist()
                assert drawn.labels.tolist() == [k % 2 for k in found[-len(drawn.labels) :]]
    return found


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("part", [0, 1, 3])
@pytest.mark.slow
def test_the_order_is_that_of_seed_and_step_whoever_reads(workers: int, part: int, tmp_path: Path) -> None:
    """Three epochs of ten images, in steps of four; from the first step on, and from the third."""
    split = folder(tmp_path)
    names = [int(Path(name).stem) for name in split.rows.names]  # type: ignore[attr-defined]
    wanted = [names[row] for row in shuffled_rows(7, 0, 32, 10)]

    parts = [range(start, min(start + (part or 4), 4)) for start in range(0, 4, part or 4)]

    def batches() -> Batches:
        return Batches(split, 7, 4, parts=parts, reading=Reading(workers, cache=0))

    assert seen(batches(), range(8), part or 4) == wanted
    assert seen(batches(), range(3, 8), part or 4) == wanted[12:]
    assert seen(batches(), iter([6, 1, 2]), part or 4) == wanted[24:28] + wanted[4:12], "not in their order"


def test_memory_and_files_are_alike(tmp_path: Path) -> None:
    split = folder(tmp_path)
    held = Arrays(split.images, split.labels).as_split()
    assert seen(Batches(held, 3, 4), range(6)) == seen(Batches(split, 3, 4, reading=Reading(0)), range(6))


def test_a_process_reads_its_own_rows_of_a_batch_ahead(tmp_path: Path) -> None:
    """Of two processes, the second reads rows 2 and 3 of each batch, and no others."""
    split = folder(tmp_path)
    batches = Batches(split, 3, 4, reading=Reading(0, cache=0), parts=(range(2, 4),))
    whole = seen(Batches(split, 3, 4, reading=Reading(0)), range(3))
    with batches:
        found = [batches.take(step, range(2, 4)).images[:, 0, 0, 0].tolist() for step in range(3)]
    assert found == [whole[2:4], whole[6:8], whole[10:12]]


def test_an_epoch_is_permuted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many parts of it are asked for; an epoch's end and the next one's begin together take two."""
    made: list[Any] = []
    make = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: (made.append(seed), make(seed))[1])
    order._permutation.cache_clear()
    for start in range(0, 200, 3):
        shuffled_rows(5, start, 3, 100)
    assert made == [(5, 0), (5, 1), (5, 2)]


def test_torchs_generator_stays_where_it_is(tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    seen(Batches(folder(tmp_path), 3, 4, reading=Reading(1)), range(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_has_been_read_is_kept(tmp_path: Path) -> None:
    """After an epoch the files are not needed any more; where there is no room, they are."""
    for cache, kept in ((40, True), (39, False)):
        split = folder(tmp_path / str(cache))
        with Batches(split, 3, 5, reading=Reading(0, cache=cache)) as batches:
            first = [batches.take(step, range(5)).images for step in range(2)]
            for path in tmp_path.rglob("*.png"):
                path.unlink()
            if kept:
                rest = torch.cat([batches.take(step, range(5)).images for step in range(2, 4)])
                assert (
                    sorted(rest[:, 0, 0, 0].tolist())
                    == list(range(10))
                    != torch.cat(first)[:, 0, 0, 0].tolist()
                )
            else:
                with pytest.raises(ValueError, match="cannot be read: No such file or directory"):
                    batches.take(2, range(5))


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_that_cannot_be_read(
    workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None are allowed: the file is named. Some are: each is named once, and the next one takes its place."""
    split = folder(tmp_path)
    (tmp_path / "train/a/04.png").write_bytes(b"no image")
    (tmp_path / "train/b/09.png").write_bytes(b"no image")
    for most, message in ((0, r"04\.png|09\.png"), (1, r"2 samples cannot be read, and data\.max_corrupt=1")):
        with pytest.raises(ValueError, match=message):
            seen(Batches(split, 7, 4, reading=Reading(workers, most)), range(5))
    capsys.readouterr()
    whole = [0, 2, 6, 6, 8, 1, 3, 5, 7, 0]  # 4 gives way to 6; 9 is the last, and gives way to the first
    with Batches(split, 7, 4, reading=Reading(workers, 2)) as batches:
        for step in range(5):
            drawn = batches.take(step, range(4))
            assert drawn.images[:, 0, 0, 0].tolist() == [whole[row] for row in batches.indices(step)]
            assert drawn.labels.tolist() == [k % 2 for k in drawn.images[:, 0, 0, 0].tolist()]
    said = capsys.readouterr().err
    assert [said.count(f"{name} cannot be read") for name in ("04.png", "09.png")] == [1, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_levels_are_checked_as_they_are_read(workers: int, tmp_path: Path) -> None:
    """Image 9 is of no level of nine; the others are read."""
    split = folder(tmp_path)
    spec = DataSpec("some", lambda name: split, None, SHAPE, 9, True, False, False,
                    reading=Reading(workers))  # fmt: skip
    held = spec.load("train")
    held.read(range(5))
    with (
        pytest.raises(ValueError, match=r"some has values up to 9, which needs data\.levels"),
        spec.batches(held, 7, 10, (), torch.device("cpu")) as batches,
    ):
        batches.take(0, range(10))
    minus = replace(spec, loader=lambda name: Arrays(torch.full((2, *SHAPE), -1), torch.zeros(2)))
    with pytest.raises(ValueError, match="values down to -1"):
        minus.load("train")


@pytest.mark.parametrize(
    "said",
    [
        "DataLoader worker (pid 7) is killed by signal: Killed. ",
        "DataLoader worker (pid(s) 7) exited unexpectedly",
    ],
)
def test_a_process_that_was_killed_is_the_machines_fault(said: str) -> None:
    """Torch raises it wherever the main process is."""
    line = machines_fault(RuntimeError(said)) or ""
    assert line.startswith("a process that reads the data has ended (DataLoader worker (pid")
    assert "--config.data.num_workers" in line


class Points(Dataset[Any]):
    """Sample k is filled with k; with its class, or without."""

    classes = ("even", "odd")

    def __init__(self, *, pairs: bool, targets: bool) -> None:
        self.pairs = pairs
        if targets:
            self.targets = [k % 2 for k in range(10)]

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, int]:
        sample = torch.full(SHAPE, index, dtype=torch.uint8)
        return (sample, index % 2) if self.pairs else sample


def test_a_data_set_of_torchs_protocol() -> None:
    """Classes are taken from its attribute, or from its items where they are needed; else they are not known."""
    parity = [k % 2 for k in range(10)]
    with_attribute = as_split(Points(pairs=False, targets=True))
    assert (with_attribute.classes, with_attribute.labels.tolist()) == (("even", "odd"), parity)
    assert as_split(Points(pairs=True, targets=False), labelled=True).labels.tolist() == parity
    unknown = as_split(Points(pairs=True, targets=False))
    assert unknown.labels.tolist() == [-1] * 10
    assert unknown.rows.read([3, 5])[:, 0, 0, 0].tolist() == [3, 5]
    assert (
        seen(Batches(with_attribute, 3, 4, reading=Reading(1)), range(3))
        == shuffled_rows(3, 0, 12, 10).tolist()
    )
    with pytest.raises(
        ValueError, match="returns Arrays, a Split or a torch Dataset that has a length; got int"
    ):
        as_split(3)


@pytest.mark.slow
def test_without_a_test_split(tmp_path: Path) -> None:
    """It is said what is left out, and the rest goes on: from files, by two workers as by one process."""
    for k in range(80):
        save(tmp_path / f"imagenet/train/{'ab'[k % 2]}/{k}.png", np.full((8, 8), k % 17, np.uint8))
    fields: dict[str, Any] = {"data__dataset": "imagenet", "data__root": tmp_path, "training__n_iters": 2}
    models = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        found = run(TINY, "all" if workers else "train", out, **fields, data__num_workers=workers)
        assert "the validation loss is left out: there are no images in" in found.out
        models.append(torch.load(out / "checkpoints/step_00000002.pt", weights_only=True)["model"])
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert "what is evaluated on it is left out" in found.out
    assert list(numbers(out)) == ["frechet/pixels", "frechet/fitted Gaussian", "precision", "recall"]
    rest = {**fields, "eval__enable_sampling": False}
    error = program("--config", TINY, "--mode", "eval", "--workdir", out, **rest).error
    assert "there are no images in" in error
