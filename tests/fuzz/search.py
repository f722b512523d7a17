"""Cases drawn by hypothesis, each tried; faults are collected, so that one hides no other."""

from __future__ import annotations

import importlib
import shlex
from collections import Counter
from dataclasses import dataclass, field

import hypothesis
import torch

from tests.fuzz.cases import Case, cases
from tests.fuzz.child import Verdict, tried

IMPORTED = (
    "torchvision",
    "torch.utils.tensorboard",
    "sklearn.datasets",
    "scipy.integrate",
    "matplotlib.pyplot",
)


@dataclass
class Found:
    """What a search has tried."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[tuple[Case, Verdict]] = field(default_factory=list)
    longest: float = 0.0
    most_memory: int = 0


def search(count: int, seed: int) -> Found:
    """Try so many cases; the same for the same seed."""
    for name in IMPORTED:
        importlib.import_module(name)
    torch.set_num_threads(1)  # before any parallel region: a forked child has none of its parent's threads
    found = Found()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def one(case: Case) -> None:
        verdict = tried(case)
        found.statuses[verdict.status] += 1
        found.longest = max(found.longest, verdict.seconds)
        found.most_memory = max(found.most_memory, verdict.memory)
        if verdict.fault:
            found.faults.append((case, verdict))
            print(f"{verdict.fault}\n  python main.py {shlex.join(case.arguments)}", flush=True)

    one()
    return found
