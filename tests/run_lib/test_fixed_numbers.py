"""Numbers that stay as they are, and what is done where nothing is said."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from losses.importance import LossSecondMoment
from losses.named_times import register_times
from run_lib.config.configuration import Record, read
from run_lib.config.methods import PredictorCorrector
from run_lib.config.reading import reads
from run_lib.data.batches import Batches, Reading
from run_lib.data.facts import write_facts
from run_lib.evaluation.base import Evaluation
from run_lib.fingerprint import Basis
from run_lib.seeds import Use, stream_seed
from run_lib.training.meter import PEAKS
from tests.run_lib.tiny import get_config as tiny


def test_the_seed_of_each_use_of_randomness_is_its_own_for_ever() -> None:
    """A seed gives next year the samples that it gives today; no two uses share a stream, whatever the seeds."""
    assert {use.name: use.value for use in Use} == {
        "INITIALISATION": 0, "TRAINING": 1, "VALIDATION": 2, "PREVIEW": 3, "SAMPLING": 4, "LIKELIHOOD": 5,
        "EVAL_LOSS": 6, "BOOTSTRAP": 7, "CONTROL": 8, "MEASUREMENT": 9, "OPERATOR": 10, "TUNING": 11, "PILOT": 12,
        "DEQUANTISATION": 13, "ORDER": 14, "DROPOUT": 15, "EXTRACTOR": 16,
    }  # fmt: skip
    assert len(Use.__members__) == len(Use), (
        "of two names for one number the second would be none of the uses"
    )
    assert len({stream_seed(seed, use) for seed in range(5) for use in Use}) == 5 * len(Use)


def test_peaks_are_those_of_the_makers() -> None:
    """Tensor cores of half precision do twice what they do in TF32, but the V100's, which have none of it; consumer
    cards, whose sheets give sums in float32, do no more in TF32 than in float32."""
    for device, of in PEAKS.items():
        ratio = of["half"] / of["tf32"]
        assert ratio == pytest.approx(125 / 15.7 if device == "V100" else 2, rel=0.02), device
        alike = device == "V100" or device.startswith("RTX")
        assert (of["float32"] == of["tf32"]) == alike, device
    assert {device: of["half"] / 1e12 for device, of in PEAKS.items()} == {
        "H200": 989, "H100": 989, "A100": 312, "V100": 125, "L40S": 362, "RTX 4090": 165, "RTX 3090": 71,
    }  # fmt: skip
    assert [PEAKS[name]["float32"] / 1e12 for name in ("H200", "H100", "A100", "L40S")] == [
        67,
        67,
        19.5,
        91.6,
    ]


def test_defaults_of_a_class_are_those_of_its_name() -> None:
    """``training.times='importance'`` is the class as Nichol & Dhariwal (2021) use it: ten losses, a share of 0.001."""
    named = inspect.signature(register_times["importance"]).parameters
    own = inspect.signature(LossSecondMoment).parameters
    assert named["history"].default == own["history"].default == 10
    assert named["uniform_share"].default == own["uniform"].default == 0.001


def test_a_sampler_keeps_no_trajectory_unless_it_is_asked_for() -> None:
    assert PredictorCorrector().trajectory == 0


def test_an_evaluation_is_of_models_of_data_unless_it_says_so() -> None:
    class Mine(Evaluation):
        def check(self, plan: Any) -> None: ...

        def evaluate(self, task: Any) -> None: ...

    assert not Mine.of_classifiers


def test_processes_read_what_costs_something_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are processors, eight at most; none for what lies in memory; so many as are asked for."""
    costly, cheap = (SimpleNamespace(costly=costly) for costly in (True, False))
    for processors, wanted in ((3, 3), (100, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda processors=processors: processors)
        assert Reading().workers(costly) == wanted  # type: ignore[arg-type]
        assert Reading().workers(cheap) == 0  # type: ignore[arg-type]
        assert Reading(num_workers=2).workers(cheap) == 2  # type: ignore[arg-type]
        assert Reading(num_workers=0).workers(costly) == 0  # type: ignore[arg-type]


def test_the_sample_too_many_is_the_one_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Of three that cannot be read where two are allowed: the third; those before it were warned of."""
    batch: Any = SimpleNamespace(_corrupt={}, _reading=Reading(max_corrupt=2))
    for index in (7, 3):
        Batches._look_at(batch, SimpleNamespace(corrupt={index: f"{index}.png is damaged"}, error=None))  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"3 samples cannot be read, and data\.max_corrupt=2: 5\.png is damaged"
    ):
        Batches._look_at(batch, SimpleNamespace(corrupt={5: "5.png is damaged"}, error=None))  # type: ignore[arg-type]
    warned = capsys.readouterr().err.splitlines()
    assert warned == [f"warning: left out: {index}.png is damaged" for index in (7, 3, 5)]


def test_measurements_of_several_data_sets_share_a_file(tmp_path: Path) -> None:
    """Each under its own key, the latest of each; a file that is no such table is begun anew."""
    path = tmp_path / "stats.json"
    for key, count in (("a", 1), ("b", 2), ("a", 3)):
        write_facts(path, key, {"count": count})
    assert json.loads(path.read_text()) == {"a": {"count": 3}, "b": {"count": 2}}
    path.write_text("[1]")
    write_facts(path, "c", {})
    assert json.loads(path.read_text()) == {"c": {}}


def test_hashes_do_not_depend_on_the_order_of_what_is_hashed() -> None:
    """The first digits of the SHA-256 of JSON with sorted keys, as kept reports and folders have them."""
    parts = {"weights": "1", "data": "2"}
    other = dict(reversed(parts.items()))
    wanted = hashlib.sha256(b'{"data": "2", "weights": "1"}').hexdigest()
    assert Basis(parts).hash == Basis(other).hash == wanted[:16]
    assert Record(parts).hash == Record(other).hash == wanted[:12]


def test_a_mode_of_ones_own_reads_all_but_what_other_modes_are_set_by() -> None:
    configuration = read(tiny(), [], "sample")
    own = replace(configuration, mode="mine")
    for section in ("control", "reconstruct", "tune", "convert", "ema", "pack", "extractor", "eval"):
        assert reads(own, f"{section}.anything") is False
    for section in ("sampling", "training", "model", "data", "guidance", "optim", "mode", "seed"):
        assert reads(own, f"{section}.anything") is True
