"""Cases drawn by hypothesis, each tried; faults are collected, so that one hides no other."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import torch

from tests.fuzz.cases import SMALL, Case
from tests.fuzz.cases import cases as cases_of_all
from tests.fuzz.child import Verdict, tried
from tests.fuzz.places import EXACT, folder_of
from tests.fuzz.small import NAMES
from tests.run_lib.program import program

IMPORTED = (
    "torchvision.utils", "torch.utils.tensorboard", "torch.utils.tensorboard.summary", "sklearn.datasets",
    "sklearn.svm", "sklearn.model_selection", "skimage.metrics", "scipy.integrate", "scipy.stats",
    "matplotlib.pyplot", "matplotlib.backends.backend_agg", "safetensors.torch", "huggingface_hub",
    "run_lib.convert", "run_lib.describe", "run_lib.editing.control", "run_lib.editing.reconstruct",
    "run_lib.evaluation.evaluate", "run_lib.training.loop", "run_lib.tuning.tune",
    "tensorboard.compat.proto.event_pb2", "tensorboard.summary.writer.record_writer",
)  # fmt: skip
OPTIONAL = ("huggingface_hub", "safetensors.torch")


@dataclass
class Found:
    """What a search has tried."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[tuple[Case, Verdict]] = field(default_factory=list)
    real: int = 0
    longest: float = 0.0
    most_memory: int = 0

    def add(self, case: Case, verdict: Verdict, real: bool) -> None:
        self.statuses[verdict.status] += 1
        self.real += real
        self.longest, self.most_memory = (
            max(self.longest, verdict.seconds),
            max(self.most_memory, verdict.memory),
        )
        if verdict.fault:
            self.faults.append((case, verdict))


def search(
    cases: range, seed: int, real: int = 0, keep: Path | None = None, log: Path | None = None
) -> Found:
    """Try cases; each is the same for the same seed and number.

    Args:
        cases: numbers of the cases.
        seed: of all.
        real: how many of them are tried as command lines of the system's, spread over all.
        keep: where folders of cases with a fault stay.
        log: a line of each case is added to this file.
    """
    _import_everything()
    found, every = Found(), len(cases) // real if real else 0
    with tempfile.TemporaryDirectory(prefix="fuzz-trained") as folder:
        trained = Path(folder)
        for number in cases:
            case = drawn(seed, number)
            wholes = (f.whole.partition("/")[0] for f in case.files)
            for name in {case.config, *(n for n in NAMES if folder_of(n) in wholes)}:
                _train(name, trained)
            as_command = bool(every) and number % every == every - 1
            verdict = tried(case, trained, real=as_command, keep=keep)
            found.add(case, verdict, as_command)
            text = f"{number} {'(real) ' * as_command}{{}}\n{case}\n".encode(
                errors="backslashreplace"
            ).decode()
            if log is not None:
                with log.open("a") as file:
                    said = ascii(verdict.said[:300])
                    file.write(
                        text.replace(
                            "{}", f"{verdict.status} {verdict.seconds:.1f} {said} {verdict.fault}", 1
                        )
                    )
            if verdict.fault:
                print(text.replace("{}", ascii(verdict.fault), 1), end="", flush=True)
    return found


def drawn(seed: int, number: int) -> Case:
    """One case. Hypothesis would vary the cases of one run around each other, so each has a run of its own."""
    found: list[Case] = []

    @hypothesis.seed(seed * 10**6 + number)
    @hypothesis.settings(
        max_examples=2,  # the first is always the simplest
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases_of_all())
    def one(case: Case) -> None:
        found.append(case)

    one()
    return found[-1]


def _import_everything() -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "MPLCONFIGDIR": tempfile.gettempdir()}
    sys.dont_write_bytecode = True
    for name in IMPORTED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            if name not in OPTIONAL:
                raise
    torch.set_num_threads(1)  # before any parallel region: a forked child has none of its parent's threads


def _train(name: str, trained: Path) -> None:
    """Make the trained work directory of a configuration, once; of the exact one, with results of every mode."""
    folder = trained / folder_of(name)
    if folder.exists() or (name.startswith("toy/") and name != EXACT):
        return
    modes: list[tuple[str, ...]] = [("train",), ("convert", "--config.convert.to=safetensors")]
    if "cifar10" in name:
        modes.append(
            ("convert", f"--config.convert.to={'diffusers' if 'diffusers' in name else 'score_sde'}")
        )
    if name == EXACT:
        grid = ("tune", "--config.tune.grid", "--config.sampling.predictor=ddim")
        modes = [(m,) for m in ("sample", "eval", "tune", "control", "reconstruct")] + [grid]
    child = os.fork()
    if child == 0:
        status = 70
        try:
            for mode, *fields in modes:
                outcome = program("--config", f"{SMALL}:{name}", "--mode", mode, "--workdir", folder, *fields)
                if outcome.status:
                    print(name, mode, fields, outcome.err, file=sys.stderr, flush=True)
                    break
            else:
                status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError(f"{name} does not train")
