"""Values that their types allow and no network or sampler can be made of: one line that names the field."""

from __future__ import annotations

from pathlib import Path

from tests.run_lib.program import GAUSSIAN, TINY, program


def test_a_network_without_resolutions(tmp_path: Path) -> None:
    for value in ("()", "[]"):
        error = program(
            "--config", TINY, "--mode", "train", "--workdir", tmp_path, model__ch_mult=value
        ).error
        assert error.startswith("config.model.ch_mult is empty: give a multiple of nf for each resolution")


def test_a_device_that_holds_no_numbers(tmp_path: Path) -> None:
    error = program("--config", GAUSSIAN, "--mode", "sample", "--workdir", tmp_path, device="meta").error
    assert error.startswith("config.device=meta cannot be used: ")
    assert "Take auto" in error


def test_a_factor_by_which_no_step_is_ever_short_enough(tmp_path: Path) -> None:
    """A refused step is tried again shorter: by a factor above 1 it would be longer, without end."""
    fields = {"sampling__predictor": "adaptive_sde", "sampling__safety": 1.01}
    error = program("--config", GAUSSIAN, "--mode", "sample", "--workdir", tmp_path, **fields).error
    assert error.startswith("adaptive_sde's safety lies in (0, 1], got 1.01.")
