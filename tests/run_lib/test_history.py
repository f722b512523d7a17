"""Losses by step in the work directory, and the checkpoints that stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from run_lib.training.checkpoints import Checkpoints
from run_lib.training.history import History
from tests.run_lib.program import TINY, program, run

SHORT: dict[str, Any] = {
    "training__n_iters": 8, "training__log_freq": 2, "training__eval_freq": 4, "training__snapshot_freq": 100,
    "training__snapshot_freq_for_preemption": 2,
}  # fmt: skip


def steps(workdir: Path) -> list[int]:
    return sorted(int(p.stem.removeprefix("step_")) for p in (workdir / "checkpoints").glob("step_*.pt"))


def table(workdir: Path) -> dict[int, tuple[str, str]]:
    head, *lines = (workdir / "losses.csv").read_text().splitlines()
    assert head == "step,training loss,held-out loss"
    return {int(s): (a, b) for s, a, b in (line.split(",") for line in lines)}


def test_losses_are_in_the_work_directory(tmp_path: Path) -> None:
    """Training losses every 2 steps, held-out ones every 4."""
    run(TINY, "train", tmp_path, **SHORT)
    found = table(tmp_path)
    assert list(found) == [2, 4, 6, 8]
    assert [bool(held_out) for _, held_out in found.values()] == [False, True, False, True]
    assert all(0 < float(loss) < 2 for loss, _ in found.values())
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.size == (700, 400)
    assert steps(tmp_path) == [6, 8]


@pytest.mark.slow
def test_a_training_in_two_parts_has_the_same_table(tmp_path: Path) -> None:
    fields = {**SHORT, "optim__schedule": "constant", "training__eval_freq": 2}
    run(TINY, "train", tmp_path / "whole", **fields)
    for end in (4, 8):
        run(TINY, "train", tmp_path / "parts", **{**fields, "training__n_iters": end})
    files = [(tmp_path / name / "losses.csv").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]


@pytest.mark.parametrize("last_act", [(History, "draw"), (Checkpoints, "keep")])
@pytest.mark.slow
def test_a_training_that_was_killed_beside_its_last_checkpoint(
    last_act: tuple[type, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one ends with the picture and the checkpoints of a whole one, even if no step is left to it."""

    class Killed(BaseException):
        pass

    act = getattr(*last_act)

    def killed(self: Any, *given: Any, **named: Any) -> None:
        if last_act[1] == "draw" or 8 in steps(tmp_path / "parts"):
            raise Killed
        act(self, *given, **named)

    run(TINY, "train", tmp_path / "whole", **SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(*last_act, killed)
        with pytest.raises(Killed):
            run(TINY, "train", tmp_path / "parts", **SHORT)
    run(TINY, "train", tmp_path / "parts", **SHORT)
    assert steps(tmp_path / "parts") == steps(tmp_path / "whole")
    pictures = [(tmp_path / name / "loss.png").read_bytes() for name in ("whole", "parts")]
    assert pictures[0] == pictures[1]


def test_losses_behind_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    written = History(tmp_path, {2: 0.5, 4: 0.25, 6: 0.125}, {4: 1.0, 6: 2.0})
    written.write()
    found = History.up_to(tmp_path, 4)
    assert found.training == {2: 0.5, 4: 0.25}
    assert found.held_out == {4: 1.0}


def test_another_file_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("my,own\n1,2\n")
    error = program("--config", TINY, "--mode", "train", "--workdir", tmp_path, **SHORT).error
    assert "losses.csv is no table of losses of ours" in error
    assert (tmp_path / "losses.csv").read_text() == "my,own\n1,2\n"


def test_best(tmp_path: Path) -> None:
    """The least of those that there are; of equal ones the first."""
    history = History(tmp_path, held_out={1: 0.1, 2: 0.3, 3: 0.2, 4: 0.2, 5: float("nan")})
    assert history.best([2, 3, 4, 5, 6]) == 3
    assert history.best([5, 6]) is None


@pytest.mark.slow
@pytest.mark.parametrize(("keep_last", "left"), [(1, [8]), (3, [4, 6, 8])])
def test_so_many_of_the_last_stay(keep_last: int, left: list[int], tmp_path: Path) -> None:
    run(TINY, "train", tmp_path, training__keep_last=keep_last, **SHORT)
    assert steps(tmp_path) == left


def test_the_best_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out losses of 3, 1, 2, 4 at steps 2, 4, 6, 8: step 4 stays beside the last."""
    from run_lib.training import loop

    losses = {2: 3.0, 4: 1.0, 6: 2.0, 8: 4.0}
    monkeypatch.setattr(loop, "validation_loss", lambda plan, state, data: losses[state.step])
    said = run(TINY, "train", tmp_path, training__keep_last=1, training__keep_best=True, **SHORT).out
    assert steps(tmp_path) == [4, 8]
    assert f"the least held-out loss, 1, is that of {tmp_path / 'checkpoints/step_00000004.pt'}" in said
