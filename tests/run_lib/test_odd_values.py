"""Values that their types allow and no network or sampler can be made of: one line that names the field."""

from __future__ import annotations

from pathlib import Path

from tests.run_lib.program import TINY, program


def test_a_network_without_resolutions(tmp_path: Path) -> None:
    for value in ("()", "[]"):
        error = program(
            "--config", TINY, "--mode", "train", "--workdir", tmp_path, model__ch_mult=value
        ).error
        assert error.startswith("config.model.ch_mult is empty: give a multiple of nf for each resolution")
