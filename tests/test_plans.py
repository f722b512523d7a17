"""Plans: what each holds, and what building one does not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_lib.program import ROOT, program

EXACT = ("gaussian_2d", "gaussian_image", "gaussian_langevin", "mixture_2d", "mixture_image")


@pytest.mark.parametrize("name", EXACT)
def test_exact_scores_are_described(name: str, tmp_path: Path) -> None:
    """They have no weights: the total of parameters is 0."""
    found = program("--config", ROOT / f"configs/toy/{name}.py", "--mode", "describe", "--workdir", tmp_path)
    assert found.status == 0, found.err
    assert found.out.splitlines()[-1].split()[:2] == ["total", "0"]
