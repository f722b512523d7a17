"""Several processes on one evaluation: the numbers of one, bit for bit, and one report."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed import TCPStore

from run_lib.evaluation.task import CheckpointTask
from run_lib.processes import Processes, first_to_say
from run_lib.sharing.parts import Parts
from tests.run_lib.program import GAUSSIAN, ROOT, numbers, program


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_batches_are_shared_out_whole(count: int) -> None:
    """Every batch has one owner, and shares differ by one batch at most."""
    shares = [list(Processes(rank, count).own_batches(7)) for rank in range(count)]
    assert sorted(i for share in shares for i in share) == list(range(7))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_rows_are_shared_out_whole(count: int) -> None:
    """In their order, each to one process; fewer rows than processes leave some without."""
    for rows in (range(4), range(7, 20), range(3, 4), range(0)):
        shares = [Processes(rank, count).share(rows) for rank in range(count)]
        assert [row for share in shares for row in share] == list(rows)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_line_is_said_once_at_each_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_to_say("a") and first_to_say("a"), "one process says what it has to say"
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert [first_to_say(line) for line in ("a", "b", "a", "b")] == [True, True, False, False]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert [first_to_say(line) for line in ("a", "a")] == [True, False]


def test_a_second_start_does_not_read_what_the_first_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the store of torch's launcher, which lives on: addresses of processes that are no more."""
    held = torch.distributed.HashStore()
    monkeypatch.setattr(torch.distributed, "rendezvous", lambda *args, **given: iter([(held, 0, 2)]))
    Processes(0, 2)._store().set("address", "a")
    assert Processes(1, 2)._store().check(["address"])
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not Processes(1, 2)._store().check(["address"])


def test_rank_0_is_the_main_process() -> None:
    assert [Processes(rank, 3).is_main for rank in range(3)] == [True, False, False]
    with pytest.raises(ValueError, match="RANK lies between"):
        Processes(2, 2)


@pytest.mark.parametrize("stop_after", [None, 2])
def test_each_computes_its_share_and_reads_the_rest(
    stop_after: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes one after the other, without a barrier: the second finds the first's files.

    The first to run computes what it cannot find, too; with a stop, both end at the batch where one would.
    """
    monkeypatch.setattr(Processes, "barrier", lambda self: None)
    task = CheckpointTask(None, None, None, tmp_path)  # type: ignore[arg-type]
    computed: list[list[int]] = []

    def compute(rows: range) -> dict[str, np.ndarray]:
        computed[-1].append(rows.start // 3)
        return {"x": np.asarray(rows)}

    def enough(found: dict[str, np.ndarray]) -> bool:
        return len(found["x"]) >= 3 * stop_after  # type: ignore[operator]

    results = []
    for rank in (1, 0):
        computed.append([])
        one = replace(task, processes=Processes(rank, 2))
        results.append(one.batches("x", 10, 3, compute, enough if stop_after else None)["x"].tolist())
    assert results[0] == results[1] == list(range(10 if stop_after is None else 6))
    # Its own share first; nothing is computed twice.
    assert computed[0][: 2 if stop_after is None else 1] == [1, 3][: 2 if stop_after is None else 1]
    assert sorted(computed[0] + computed[1]) == sorted(set(computed[0] + computed[1]))


def test_other_modes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    error = program("--config", GAUSSIAN, "--mode", "describe").error
    assert "--mode describe runs in one process, and WORLD_SIZE=2 were launched" in error


@pytest.mark.slow
@pytest.mark.parametrize("quick", [False, True])
def test_two_processes_give_the_numbers_of_one(quick: bool, tmp_path: Path) -> None:
    """torchrun with two real processes, and the program in this one: per-image values bit for bit, one report, printed
    once."""
    flags = {"eval.enable_bpd": True, "eval.enable_sampling": False, "eval.bpd_num_images": 70,
             "eval.batch_size": 16, "eval.bpd_latents": True,
             **({"eval.bpd_quick": True, "eval.bpd_target": 0.15} if quick else {})}  # fmt: skip
    asked = [f"--config.{name}={value}" for name, value in flags.items()]
    line = ["--config", str(GAUSSIAN), "--mode", "eval", *asked, "--workdir"]
    assert program(*line, tmp_path / "one").status == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "main.py", *line, str(tmp_path / "two")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: ") == 1
    for file in ("likelihood_test_0.npz", "latents_test_0.npz"):
        with np.load(tmp_path / "one/eval" / file) as one, np.load(tmp_path / "two/eval" / file) as two:
            assert set(one) == set(two)
            for key in one:
                np.testing.assert_array_equal(one[key], two[key], err_msg=key)
    one_report, two_report = (numbers(tmp_path / name) for name in ("one", "two"))
    for name in one_report:
        assert one_report[name]["value"] == two_report[name]["value"]
        assert one_report[name]["stderr"] == two_report[name]["stderr"]


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_left_to_share(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All is done already, as where a run was killed at its very end."""
    monkeypatch.setattr(Processes, "barrier", lambda _: None)
    parts = Parts(tmp_path, Processes(rank=0, world_size=count))
    assert list(parts.each("working", [], lambda rows: {})) == []
    assert "a lower batch size" not in capsys.readouterr().out
