"""Converts weights to other formats."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from run_lib.config.converting import ConversionPlan, WrittenPlan
from run_lib.config.explaining import in_fields
from run_lib.files import atomic, of_json
from run_lib.run import Run
from run_lib.training.formats import FORMATS, Converted
from run_lib.training.state import TrainState


def convert(plan: ConversionPlan, run: Run) -> None:
    """Write weights in the format ``convert.to``: those of ``init_from`` or ``resume_from``, else of the latest
    checkpoint.

    Raises:
        ValueError: no weights, a network that the format does not have, or a path where there
            is something already.
    """
    wanted, subject = plan.settings, plan.subject
    state = run.new_state(plan) if subject.start.given else run.trained_state(plan)
    kind, rate = FORMATS[wanted.to], subject.averages.used_ema_rate
    if rate is not None and not kind.averages:
        state = replace(state, weights=state.weights.use(rate))
    name = f"{wanted.to}_{state.step:08d}{kind.suffix}"
    path = Path(wanted.path) if wanted.path else run.folder("converted") / name
    _check_free(path)
    held = Converted(
        state, _record(plan, state), subject.data.shape, plan.sigmas, plan.schedule, plan.process
    )
    with in_fields(architecture="Take another format, --config.convert.to."):
        kind.write(held, path)
    print(f"{wanted.to}: {path}")


def write_configuration(plan: WrittenPlan, run: Run) -> None:
    """Write the configuration of the network in a file of weights, as far as the file tells it.

    Raises:
        ValueError: there is something already where it goes.
    """
    path = Path(plan.settings.path) if plan.settings.path else run.folder("converted") / "config.py"
    _check_free(path)
    with atomic(path) as partial:
        partial.write_text(plan.text, encoding="utf-8")
    print(f"config: {path}")


def _check_free(path: Path) -> None:
    """Make the folder of a path at which nothing is.

    Raises:
        ValueError: there is something.
    """
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(
            f"{path} exists already, and nothing is overwritten: move it away, or take another place by "
            f"--config.convert.path."
        )
    path.parent.mkdir(parents=True, exist_ok=True)


def _record(plan: ConversionPlan, state: TrainState) -> Mapping[str, Any]:
    """The configuration that the weights were made with: the checkpoint's; without one, that of the conversion."""
    held: Mapping[str, Any] = of_json(state.weights.record) if state.weights.record else {}
    return held or plan.subject.record.values
