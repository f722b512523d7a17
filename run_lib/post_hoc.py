"""Averaged weights that are chosen after training (post-hoc EMA)."""

from __future__ import annotations

import os
from pathlib import Path

from models.base import Network
from models.checkpoints.loader import load_weights
from models.checkpoints.ours import save_weights
from run_lib.config.plans import PostHocPlan
from run_lib.files import as_json, atomic
from run_lib.run import Run
from run_lib.training.profiles import AverageFiles, reconstruct
from run_lib.training.published_profiles import PublishedSnapshots
from run_lib.training.state import check_names


def make_averages(plan: PostHocPlan, run: Run) -> None:
    """Write the averages of the relative widths ``ema.std`` at ``ema.step`` as safetensors, which ``init_from`` takes.

    Raises:
        ValueError: there are no snapshots, none of that step, or they are of another network; a file exists already.
    """
    snapshots, wanted = _snapshots(plan, run), plan.settings
    steps = snapshots.steps()
    if not steps:
        raise ValueError(
            f"there are no snapshots of averages in {snapshots.folder}/: train with --config.model.ema_stds=0.05,0.10, "
            f"and any other average can be made afterwards; or name a folder of EDM2's, --config.ema.snapshots."
        )
    step = wanted.step or steps[-1]
    if step not in steps:
        raise ValueError(
            f"there is no snapshot of step {step} in {snapshots.folder}/: set ema.step to one of "
            f"{', '.join(map(str, steps))}, or to 0 for the last."
        )
    folder = run.folder("ema")
    paths = [folder / f"std_{width:g}_step_{step:08d}.safetensors" for width in wanted.widths]
    _check(plan, snapshots, step, paths)
    last = snapshots.read(step)
    network = _untrained(plan, run, snapshots.path(step))
    for path, averaged in zip(paths, reconstruct(snapshots, step, wanted.widths), strict=True):
        with atomic(path) as partial:
            save_weights(network, averaged, partial, config=last.config, step=step, classes=last.classes)
        print(f"averaged weights: {path}")


def _snapshots(plan: PostHocPlan, run: Run) -> AverageFiles:
    if not plan.settings.snapshots:
        return run.profiles
    record = as_json(dict(plan.subject.record.values))
    return PublishedSnapshots(Path(plan.settings.snapshots), plan.subject.network, record)


def _untrained(plan: PostHocPlan, run: Run, file: Path) -> Network:
    """The network with the weights that are not trained, which averages lack: a checkpoint's or a published file's."""
    if not plan.settings.snapshots:
        return run.weights(plan.subject).network
    load_weights(plan.subject.network, file)
    return plan.subject.network


def _check(plan: PostHocPlan, snapshots: AverageFiles, step: int, paths: list[Path]) -> None:
    """Refuse snapshots of another network, and files that exist."""
    snapshot, origin = snapshots.read(step), snapshots.path(step)
    plan.subject.agreement.check_use(origin, snapshot.config)
    trained = {name for name, p in plan.subject.network.named_parameters() if p.requires_grad}
    for averages in snapshot.averages.values():
        if averages.keys() != trained:
            check_names(plan.subject.network, dict(averages), origin)
    for path in paths:
        if os.path.lexists(path):
            raise ValueError(f"{path} exists already, and nothing is overwritten: move it away.")
