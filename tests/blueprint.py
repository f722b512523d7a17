"""What a configuration builds: every component with all arguments of its constructor."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from run_lib.config.build import build
from run_lib.config.experiment import Experiment
from run_lib.config.fields import Section


class Blueprint:
    """An experiment without weights, and the calls that built it: ``arguments["NCSNpp"]["channels"]``."""

    def __init__(self, config: ConfigDict) -> None:
        self.arguments: dict[str, dict[str, Any]] = {}
        construct = Section.construct

        def recording(section: Section, factory: Any, **context: Any) -> Any:
            def noted(*args: Any, **kwargs: Any) -> Any:
                bound = inspect.signature(factory).bind(*args, **kwargs)
                bound.apply_defaults()
                self.arguments[factory.__name__] = {k: _plain(v) for k, v in bound.arguments.items()}
                return factory(*args, **kwargs)

            noted.__signature__ = inspect.signature(factory)  # type: ignore[attr-defined]
            return construct(section, noted, **context)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Section, "construct", recording)
            self.experiment: Experiment = build(config, weights=False)

    @property
    def network(self) -> dict[str, Any]:
        return self.arguments[type(self.experiment.network).__name__]


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
