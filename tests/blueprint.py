"""What a configuration builds: every component with all arguments of its constructor."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from run_lib.config import plans
from run_lib.config.components import Chosen
from run_lib.config.configuration import read
from run_lib.config.sampling import SamplingPlan
from run_lib.config.subject import Subject, build_subject
from run_lib.config.training import TrainingPlan, plan_training


class Blueprint:
    """Plans without weights, and the calls that built them: ``arguments["NCSNpp"]["channels"]``.

    The values of the configuration are those of a file, which may set what its alternatives need.
    """

    def __init__(self, config: ConfigDict) -> None:
        self.arguments: dict[str, dict[str, Any]] = {}
        build = Chosen.build

        def recording(chosen: Chosen, **context: Any) -> Any:
            def noted(*args: Any, **kwargs: Any) -> Any:
                bound = inspect.signature(chosen.factory).bind(*args, **kwargs)
                bound.apply_defaults()
                self.arguments[chosen.factory.__name__] = {k: _plain(v) for k, v in bound.arguments.items()}
                return chosen.factory(*args, **kwargs)

            noted.__signature__ = inspect.signature(chosen.factory)  # type: ignore[attr-defined]
            return build(Chosen(chosen.role, chosen.name, noted, chosen.settings), **context)

        configuration = read(config, given=[])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Chosen, "build", recording)
            self.subject: Subject = build_subject(configuration, weights=False)
            self.sampling: SamplingPlan | None = plans.sampling_of(configuration, self.subject)
            self.training: TrainingPlan = plan_training(configuration, self.subject, None)

    @property
    def network(self) -> dict[str, Any]:
        return self.arguments[type(self.subject.network).__name__]


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, torch.nn.Module):
        return type(value).__name__
    return list(value) if isinstance(value, tuple) else value
