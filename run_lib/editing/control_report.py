"""What the report of ``--mode control`` says beside its numbers."""

from __future__ import annotations

from typing import Any

from run_lib.run import Run


def facts(run: Run, step: int) -> dict[str, Any]:
    """What was asked for, for the report."""
    e, settings = run.experiment, run.experiment.edits.control
    chosen = {name: value for name, value in e.config["control"].items() if value not in (None, "")}
    sampler = {name: e.config["sampling"][name] for name in ("method", "predictor", "corrector", "num_steps")}
    return {
        "task": settings.task,
        "control": chosen,
        "sampling": sampler,
        "seed": e.sampling_seed,
        "step": step,
        "config_hash": e.config_hash,
    }
