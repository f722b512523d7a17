"""The page of predictors says what the code does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_capability_table_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails: python docs/make_predictors.py."""
    spec = importlib.util.spec_from_file_location("make_predictors", ROOT / "docs" / "make_predictors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "predictors.md").read_text() == module.page()
