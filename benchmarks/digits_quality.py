"""Samples of the trained digits model at 10, 20 and 50 evaluations, against ancestral sampling's at 1000.

    python main.py --config configs/ddpm/digits.py --mode train --config.training.n_iters=930 --config.optim.warmup=47
    python -m benchmarks.digits_quality            writes its section of benchmarks/RESULTS.md
    python -m benchmarks.digits_quality --only precision       writes another: bfloat16 beside float32

Sets of 1000 samples of the same seeds under every sampler, scored in pixel space as ``--mode eval`` does. Sets
that are scored already (``--workdir``/quality) are not made again, so more ``--repeats`` or samplers add to
them. The reference takes a million evaluations of a sample a set: about six minutes on a core.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import write_section
from configs.ddpm.digits import get_config
from run_lib.config.configuration import read
from run_lib.config.settings import TuneSettings
from run_lib.config.sweep import Candidate, Change, Value
from run_lib.config.tuning import plan_candidate
from run_lib.run import Run
from run_lib.statistics import Interval, t_interval
from run_lib.tuning.jobs import SampleSet, ScoreFiles, Work, do
from run_lib.tuning.stored_grids import Purpose, StoredGrids, make_grid
from samplers.pc import PCSampler

METRICS = ("Fréchet distance", "precision", "recall")
CONFIDENCE = 0.95


def settings(**changes: Value) -> Candidate:
    return Candidate(tuple(Change(field, value) for field, value in changes.items()))


REFERENCE = settings(predictor="ancestral_sampling", num_steps=1000, grid="uniform")
SAMPLERS: dict[str, dict[str, Value]] = {
    "ancestral_sampling": {"predictor": "ancestral_sampling"},
    "ddim": {"predictor": "ddim"},
    "unipc": {"predictor": "unipc"},
    "dpm_solver_multistep 3": {"predictor": "dpm_solver_multistep", "order": 3},
    "adams v 3": {"predictor": "adams"},
    "sde_dpm_solver_multistep 2": {"predictor": "sde_dpm_solver_multistep"},
    "sa_solver": {"predictor": "sa_solver"},
}
TUNED: dict[int, dict[str, Value]] = {
    10: {"tau": 1.1, "tau_high": 1.0, "t_end": 0.022},
    20: {"tau": 1.0, "t_end": 0.02},
}
"""``sa_solver`` where its defaults need more evaluations: of some hundred settings tried on sets of other seeds."""
OPTIMISED: dict[str, Value] = {"predictor": "adams", "grid": "optimised"}
"""At the smallest budget, where a grid matters most; the pilot is run first if its grid is not stored."""
BUDGETS = (10, 20, 50)
PRECISIONS = ("float32", "bfloat16")


def in_precision(budget: int, precision: str) -> Candidate:
    """The configuration's own sampler, with its network in a precision."""
    return settings(predictor="unipc", num_steps=budget, precision=precision)


def choices(budget: int) -> dict[str, dict[str, Value]]:
    found = dict(SAMPLERS)
    if budget in TUNED:
        common: dict[str, Value] = {
            "predictor": "sa_solver",
            "explicit": 3,
            "implicit": 3,
            "lower_order_final": True,
        }
        named = ", ".join(f"{field} {value}" for field, value in TUNED[budget].items())
        found[f"sa_solver 3 3, lower_order_final, {named}"] = common | TUNED[budget]
    if budget == BUDGETS[0]:
        found["adams v 3, optimised grid"] = OPTIMISED
    return found


def row(parts: ScoreFiles, candidate: Candidate, repeats: int) -> np.ndarray:
    """(metrics, sets) of the sets that are there."""
    found = [parts.read(candidate, repeat) for repeat in range(repeats)]
    return np.array([[score.value for score in scored.scores] for scored in found if scored is not None]).T


def no_worse(values: np.ndarray, reference: np.ndarray) -> str:
    """The metrics whose mean is no worse than the far end of the reference's interval."""
    held = []
    if reference.shape[1] < 2:
        return "one set has no interval"
    for name, ours, theirs, sign in zip(METRICS, values, reference, (1, -1, -1), strict=True):
        interval = t_interval(theirs, CONFIDENCE)
        if sign * (ours.mean() - interval.mean) <= interval.half:
            held.append(name)
    return "all three" if len(held) == len(METRICS) else ", ".join(held) or "none"


def table(parts: ScoreFiles, repeats: int) -> str:
    reference = row(parts, REFERENCE, repeats)
    assert reference.size, "the reference is sampled first"
    lines = [
        "| sampler | evaluations | sets | Fréchet distance | precision | recall "
        "| its Fréchet distance less the reference's | no worse than the reference's interval |",
        "|---|---|---|---|---|---|---|---|",
        f"| `ancestral_sampling`, uniform grid | 1000 | {reference.shape[1]} | {cells(reference)} | | reference |",
    ]
    for budget in BUDGETS:
        for name, changes in choices(budget).items():
            values = row(parts, settings(num_steps=budget, **changes), repeats)
            if values.size:
                common = min(values.shape[1], reference.shape[1])
                difference = t_interval(values[0, :common] - reference[0, :common], CONFIDENCE)
                held = no_worse(values, reference)
                less = written(difference, "+.2f").replace("± +", "± ")
                cost = f"{budget} | {values.shape[1]}"
                lines.append(f"| {name} | {cost} | {cells(values)} | {less} | {held} |")
    return "\n".join(lines)


def precisions(parts: ScoreFiles, repeats: int, budgets: Sequence[int]) -> str:
    """The section on bfloat16: both precisions at each budget, and which of the means lie in float32's interval."""
    lines = [
        "## Digits: bfloat16 beside float32",
        "",
        "UniPC on `log_snr` with the same weights; sets of 1000 samples of the same seeds in both, scored as above.",
        "The last column names the metrics whose mean in bfloat16 lies in the interval of float32's.",
        f"Command: `python -m benchmarks.digits_quality --only precision --repeats {repeats}`.",
        "",
        "| precision | evaluations | sets | Fréchet distance | precision | recall "
        "| its Fréchet distance less float32's | within float32's interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for budget in budgets:
        exact, rounded = (row(parts, in_precision(budget, one), repeats) for one in PRECISIONS)
        inside = [
            name
            for name, values, other in zip(METRICS, rounded, exact, strict=True)
            if abs(values.mean() - other.mean()) <= t_interval(other, CONFIDENCE).half
        ]
        less = written(t_interval(rounded[0] - exact[0], CONFIDENCE), "+.2f").replace("± +", "± ")
        held = "all three" if len(inside) == len(METRICS) else ", ".join(inside) or "none"
        lines += [
            f"| float32 | {budget} | {exact.shape[1]} | {cells(exact)} | | |",
            f"| bfloat16 | {budget} | {rounded.shape[1]} | {cells(rounded)} | {less} | {held} |",
        ]
    return "\n".join(lines)


def cells(values: np.ndarray) -> str:
    digits = (2, 3, 3)
    return " | ".join(
        written(t_interval(v, CONFIDENCE), f".{d}f") for v, d in zip(values, digits, strict=True)
    )


def written(interval: Interval, form: str) -> str:
    half = "" if np.isnan(interval.half) else f" ± {interval.half:{form}}"
    return f"{interval.mean:{form}}{half}"


def section(parts: ScoreFiles, repeats: int) -> str:
    return f"""## Digits: few evaluations against a thousand

`configs/ddpm/digits.py` with `training.n_iters=930` and `optim.warmup=47`; up to {repeats} sets of 1000 samples, of the
same seeds for every sampler, against all 1797 real images in pixel space. Intervals are Student's t at 95 % over the
sets; the difference is paired, set by set. Grid `log_snr` unless named. The last column names the metrics
whose mean is no worse than the far end of the reference's interval.
The settings of `sa_solver` with `t_end` were found on sets of other seeds.
Command: `python -m benchmarks.digits_quality --repeats {repeats}`.

{table(parts, repeats)}"""


def ready(work: Work, candidate: Candidate) -> None:
    """See that the checkpoint has the grid which the candidate asks for."""
    plan = plan_candidate(work.values, candidate)
    plan, path = plan.subject.placement.place(plan), work.run.stored_grids()
    assert isinstance(plan.sampler, PCSampler)
    try:
        StoredGrids(path).find(Purpose.of(plan.sampler))
    except ValueError:
        with work.run.weights(plan.subject).averaged():
            make_grid(plan, work.settings.pilot_samples, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=Path("runs/ddpm/digits"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", choices=["reference", "fast", "table", "precision", "all"], default="all")
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="of --only precision")
    arguments = parser.parse_args()
    config = get_config()
    config.tune.num_samples = 1000
    parts = ScoreFiles(arguments.workdir / "quality")
    configuration, run = read(config, given=[]), Run(arguments.workdir, config_file="configs/ddpm/digits.py")
    work = Work(configuration.plain(), TuneSettings.of(configuration.values.tune), run, None, parts)
    fast = [settings(num_steps=budget, **c) for budget in BUDGETS for c in choices(budget).values()]
    both = [in_precision(budget, one) for budget in arguments.budgets for one in PRECISIONS]
    chosen = {
        "reference": [REFERENCE], "fast": fast, "table": [], "precision": both, "all": [REFERENCE, *fast, *both],
    }[arguments.only]  # fmt: skip
    if arguments.only in ("fast", "all"):
        ready(work, settings(num_steps=BUDGETS[0], **OPTIMISED))
    tasks = [SampleSet(c, r) for c in chosen for r in range(arguments.repeats) if parts.read(c, r) is None]
    if tasks:
        do(work, tasks, arguments.processes)
    if arguments.only in ("table", "all"):
        write_section("digits_quality", section(parts, arguments.repeats).split("\n"))
        print(table(parts, arguments.repeats))
    if arguments.only in ("precision", "all"):
        found = precisions(parts, arguments.repeats, arguments.budgets)
        write_section("digits_precision", found.split("\n"))
        print(found)


if __name__ == "__main__":
    main()
