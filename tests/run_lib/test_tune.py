"""``--mode tune``: scores against closed forms, the same noise for every value, resumption, and what it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from run_lib.tuning import jobs as tune_jobs
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, program, run

LANGEVIN = ROOT / "configs/toy/gaussian_langevin.py"
FEW = {
    "sampling__corrector": "langevin",
    "sampling__num_steps": 4,
    "tune__num_samples": 40,
    "tune__repeats": 2,
    "tune__sweep": "snr=0.1,0.2",
    "tune__rows": 0,
}
"""A sweep of a moment, on the plane, without its picture."""


def table(workdir: Path, folder: str = "tune") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workdir / folder / "table.json").read_text())
    return found


@pytest.mark.slow
def test_stationary_variance_is_one_plus_snr_squared(tmp_path: Path) -> None:
    """Langevin's step is e = 2 (snr |z| / |s|)^2. Where the target is N(0, v I) in many dimensions and states have
    variance w, |z|^2 = D and |s|^2 = D w / v^2, so that w = (1 - e/v)^2 w + 2 e gives w = (1 + snr^2) v.

    With batch norms, whose fluctuations vanish; 120 sub-steps, half of them where the target hardly changes,
    forget the start: each takes 4 snr^2 of what is left.
    """
    outcome = run(
        LANGEVIN,
        "tune",
        tmp_path,
        tune__sweep="snr=0.2,0.4",
        tune__repeats=8,
        tune__num_samples=30,
        tune__confidence=0.99,
        data__shape="(256,)",
        model__sigma_max=4.0,
        sampling__num_steps=24,
        sampling__n_steps_each=5,
        sampling__norm="batch",
    )
    rows = table(tmp_path)["rows"]
    assert [row["snr"] for row in rows] == [0.2, 0.4]
    for row in rows:
        assert row["variance"] == pytest.approx(1 + row["snr"] ** 2, abs=row["variance +-"])
        assert row["variance +-"] < 0.03, "an interval that could tell"
        assert row["nfe"] == 144, "24 times of one evaluation and five"
    assert table(tmp_path)["best"] == {"snr": 0.2}
    assert "the best lies at the edge of the sweep: widen it" in outcome.out


@pytest.mark.slow
def test_best_snr_lies_between_too_cold_and_too_hot(tmp_path: Path) -> None:
    """A corrector of snr 0.4 heats by 16 %; one of 0.02 corrects nothing of what sixteen coarse steps leave."""
    run(
        LANGEVIN,
        "tune",
        tmp_path,
        tune__sweep="snr=0.02,0.15,0.4",
        tune__repeats=3,
        tune__num_samples=50,
        data__shape="(256,)",
        sampling__num_steps=16,
        sampling__n_steps_each=8,
    )
    found = table(tmp_path)
    assert found["best"] == {"snr": 0.15}
    assert found["as_good"] == [{"snr": 0.15}]
    assert json.loads((tmp_path / "tune/best.json").read_text()) == {"snr": 0.15}


def test_every_value_has_the_same_noise(tmp_path: Path) -> None:
    """Where a setting does nothing, samples are the same to the bit, and no value can be told from another."""
    run(
        GAUSSIAN,
        "tune",
        tmp_path,
        **{
            **FEW,
            "sampling__corrector": "none",
            "tune__sweep": "predictor=ancestral_sampling,AncestralSampling",
        },
    )
    found = table(tmp_path)
    first, second = found["rows"]
    assert first["by_seed"] == second["by_seed"]
    assert first["by_seed"]["frechet"][0] != first["by_seed"]["frechet"][1], "repeats have other seeds"
    assert first["of that +-"] == second["of that +-"] == 0
    assert len(found["as_good"]) == 2


@pytest.mark.slow
def test_tables_plot_and_picture(tmp_path: Path) -> None:
    """Two fields in every combination; the table says the same in both forms; the picture has a column each."""
    outcome = run(TINY, "train", tmp_path)
    outcome = run(
        TINY,
        "tune",
        tmp_path,
        sampling__corrector="langevin",
        sampling__batch_size=80,
        tune__sweep="predictor=ddim,unipc;snr=0.1:0.2:2",
        tune__repeats=2,
        tune__num_samples=70,
        tune__metric="precision",
        tune__rows=3,
    )
    found = table(tmp_path)
    with (tmp_path / "tune/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    asked = [("ddim", 0.1), ("ddim", 0.2), ("unipc", 0.1), ("unipc", 0.2)]
    assert [(row["predictor"], row["snr"]) for row in found["rows"]] == asked
    assert [(row["predictor"], float(row["snr"])) for row in rows] == asked
    for written, kept in zip(rows, found["rows"], strict=True):
        for metric in ("frechet", "precision", "recall"):
            assert float(written[metric]) == kept[metric] == pytest.approx(np.mean(kept["by_seed"][metric]))
    best = max(found["rows"], key=lambda row: row["precision"])
    assert found["best"] == {"predictor": best["predictor"], "snr": best["snr"]}
    assert best["best"] and best["as good as the best"]
    assert "best by precision" in outcome.out
    for name in ("plot.png", "picture.png"):
        with Image.open(tmp_path / "tune" / name) as image:
            assert image.width > 300
            assert np.asarray(image).std() > 10, "something is drawn"


@pytest.mark.slow
def test_classes_and_features(tmp_path: Path) -> None:
    """Distances in principal components need fewer samples than there are pixels."""
    run(TINY, "train", tmp_path, model__num_classes=10, training__n_iters=2)
    few = {"sampling__corrector": "langevin", "tune__sweep": "snr=0.1,0.2", "tune__num_samples": 30}
    run(TINY, "tune", tmp_path, model__num_classes=10, tune__repeats=2, tune__features="pca", **few)
    assert table(tmp_path)["rows"][0]["frechet"] > 0
    error = program(
        "--config", TINY, "--mode", "tune", "--workdir", tmp_path, model__num_classes=10, **few
    ).error
    assert "num_samples=30 cannot give a covariance of 64 features" in error


@pytest.mark.slow
def test_what_is_scored_is_not_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the third of four sets; then more repeats, and more values: only what is new is drawn."""
    whole, calls = tune_jobs.draw, [0]

    def stopped(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return whole(*args)

    def counted(*args: Any) -> Any:
        calls[0] += 1
        return whole(*args)

    monkeypatch.setattr(tune_jobs, "draw", stopped)
    assert program("--config", GAUSSIAN, "--mode", "tune", "--workdir", tmp_path, **FEW).status == 130
    monkeypatch.setattr(tune_jobs, "draw", counted)
    drawn = []
    for more in ({}, {}, {"tune__repeats": 3}, {"tune__sweep": "snr=0.1,0.15,0.2", "tune__repeats": 3}):
        calls[0] = 0
        run(GAUSSIAN, "tune", tmp_path, **{**FEW, **more})
        drawn.append(calls[0])
    assert drawn == [2, 0, 2, 3]
    part = min((tmp_path / "tune/parts").glob("*.json"))
    calls[0], whole_part = 0, part.read_text()
    part.write_text(whole_part[:40])
    again = run(GAUSSIAN, "tune", tmp_path, **{**FEW, **more})
    assert calls[0] == 1, "a damaged part is scored again, and that is said"
    assert again.err.count(f"note: {part} is damaged") == 1
    assert json.loads(part.read_text())["scores"] == json.loads(whole_part)["scores"]
    run(GAUSSIAN, "tune", tmp_path / "at once", **{**FEW, **more})
    values = [
        [row["by_seed"] for row in table(workdir)["rows"]] for workdir in (tmp_path, tmp_path / "at once")
    ]
    assert values[0] == values[1]


@pytest.mark.slow
def test_scores_of_other_settings_are_refused(tmp_path: Path) -> None:
    run(GAUSSIAN, "tune", tmp_path, **FEW)
    command = ("--config", GAUSSIAN, "--mode", "tune", "--workdir", tmp_path)
    error = program(*command, **{**FEW, "sampling__num_steps": 5}).error
    assert "tune holds scores of other settings (sampling.num_steps was 4, is 5)" in error
    assert "--config.tune.folder=NAME" in error
    error = program(*command, **{**FEW, "tune__sweep": "n_steps_each=1,2"}).error
    assert "sweep over was 'snr', is 'n_steps_each'" in error
    assert program(*command, **{**FEW, "sampling__num_steps": 5}, tune__folder="another").status == 0


@pytest.mark.slow
def test_scores_of_other_weights_are_refused(tmp_path: Path) -> None:
    """A checkpoint of the same settings, trained on: its samples are others."""
    few = {**FEW, "tune__num_samples": 70, "sampling__num_steps": 2, "sampling__batch_size": 70}
    run(TINY, "train", tmp_path, training__n_iters=2)
    run(TINY, "tune", tmp_path, **few)
    run(TINY, "train", tmp_path, training__n_iters=4)
    error = program("--config", TINY, "--mode", "tune", "--workdir", tmp_path, **few).error
    assert "(weights was " in error


@pytest.mark.slow
def test_number_of_processes_does_not_matter(tmp_path: Path) -> None:
    for processes in (1, 2):
        run(GAUSSIAN, "tune", tmp_path / str(processes), **FEW, tune__processes=processes)
    values = [[row["by_seed"] for row in table(tmp_path / n)["rows"]] for n in ("1", "2")]
    assert values[0] == values[1]


def test_settings_found_are_used(tmp_path: Path) -> None:
    """``--config.sampling=FILE``, in its place among the fields: what comes later goes before it."""
    run(GAUSSIAN, "tune", tmp_path, **FEW)
    best = tmp_path / "tune/best.json"
    few = {"sampling__num_samples": 3, "sampling__num_steps": 2, "sampling__corrector": "langevin"}
    for arguments, snr in (
        ((f"--config.sampling={best}",), json.loads(best.read_text())["snr"]),
        (("--config.sampling", best), json.loads(best.read_text())["snr"]),
        ((f"--config.sampling={best}", "--config.sampling.snr=0.3"), 0.3),
        (("--config.sampling.snr=0.3", f"--config.sampling={best}"), json.loads(best.read_text())["snr"]),
    ):
        run(GAUSSIAN, "sample", tmp_path, *arguments, **few)
        assert json.loads((tmp_path / "samples/settings.json").read_text())["sampling"]["snr"] == snr


def test_every_kind_of_field_is_read_from_a_file(tmp_path: Path) -> None:
    fields = {
        "predictor": "ddim",
        "eta": 0.5,
        "noise_removal": False,
        "num_steps": 3,
        "grid": "explicit",
        "listed_times": [1.0, 0.5, 0.1],
    }
    (tmp_path / "mine.json").write_text(json.dumps(fields))
    run(GAUSSIAN, "sample", tmp_path, f"--config.sampling={tmp_path / 'mine.json'}", sampling__num_samples=3)
    sampling = json.loads((tmp_path / "samples/settings.json").read_text())["sampling"]
    assert {name: sampling[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "takes a JSON file of the section's fields, such as --mode tune writes, and"),
        ("snr: 0.1", "is no JSON"),
        ("[0.1]", "must hold an object of fields"),
        ('{"snrr": 0.1}', "config.sampling has no field 'snrr'. Did you mean 'snr'?"),
        ('{"snr": null}', "snr: a field is a number, a name, true, false or a list, not null"),
        ('{"snr": "hot"}', "--config.sampling.snr=hot: a number is expected"),
    ],
)
def test_wrong_file_of_fields(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "mine.json").write_text(text)
    error = program(
        "--config", GAUSSIAN, "--mode", "sample", f"--config.sampling={tmp_path / 'mine.json'}"
    ).error
    assert message in error


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"tune__sweep": ""}, "config.tune.sweep names nothing to tune"),
        ({"tune__sweep": "snr"}, "'snr' gives no values; write field=a,b,c"),
        ({"tune__sweep": "snr="}, "snr takes numbers, got ''"),
        ({"tune__sweep": "snr=0.1,warm"}, "snr takes numbers, got 'warm'"),
        ({"tune__sweep": "snr=0.1,nan"}, "snr takes numbers, got 'nan'"),
        ({"tune__sweep": "n_steps_each=1.5"}, "n_steps_each takes whole numbers, got '1.5'"),
        ({"tune__sweep": "noise_removal=maybe"}, "noise_removal takes true and false, got 'maybe'"),
        ({"tune__sweep": "snr=0.1,0.1"}, "has snr=0.1 twice"),
        ({"tune__sweep": "snr=0.1 snr=0.2"}, "has the field 'snr' twice"),
        ({"tune__sweep": "snr=0.1:0.3"}, "snr=0.1:0.3 is no range of numbers"),
        ({"tune__sweep": "snr=0:0.3:4:log"}, "with :log positive ends"),
        (
            {"tune__sweep": "num_steps=10:15:3"},
            "num_steps takes whole numbers, and the range 10:15:3 gives 10, 12.5",
        ),
        ({"tune__sweep": "predictor=a:b:3"}, "predictor=a:b:3 is no range of numbers"),
        ({"tune__sweep": "srn=0.1"}, "'srn'; registered: "),
        ({"tune__sweep": "srn=0.1"}, "Did you mean 'snr'?"),
        ({"tune__sweep": "seed=1,2"}, "cannot vary 'seed'"),
        ({"tune__sweep": "listed_times=1,2"}, "cannot vary 'listed_times'"),
        (
            {"tune__sweep": "snr=0.1,2"},
            "snr=2 of config.tune.sweep: langevin's snr lies between 0 and 1, got 2.0",
        ),
        ({"tune__sweep": "predictor=ddmi"}, "predictor=ddmi of config.tune.sweep: unknown predictor 'ddmi'"),
        (
            {"sampling__corrector": "none"},
            "config.sampling.snr is set, but predictor",
        ),
        (
            {"tune__metric": "fid"},
            "unknown config.tune.metric for these data 'fid'; registered: frechet, variance",
        ),
        ({"tune__repeats": 1}, "config.tune.repeats lies in [2, 10000], got 1"),
        ({"tune__processes": 0}, "config.tune.processes lies in [1, 1024], got 0"),
        ({"tune__confidence": 1.0}, "config.tune.confidence lies between 0 and 1"),
    ],
)
def test_wrong_sweep(overrides: dict[str, Any], message: str, tmp_path: Path) -> None:
    """One error, before any work."""
    error = program(
        "--config", GAUSSIAN, "--mode", "tune", "--workdir", tmp_path, **{**FEW, **overrides}
    ).error
    assert message in error
    assert not (tmp_path / "tune").exists()


def test_no_checkpoint(tmp_path: Path) -> None:
    few = {**FEW, "tune__num_samples": 70}
    error = program("--config", TINY, "--mode", "tune", "--workdir", tmp_path, **few).error
    assert "there is no checkpoint" in error
    assert "--mode train" in error
    error = program(
        "--config", TINY, "--mode", "tune", "--workdir", tmp_path, **few, tune__features="pixel"
    ).error
    assert "unknown feature space 'pixel'" in error
    assert "Did you mean 'pixels'?" in error


def test_classifiers_are_not_tuned(tmp_path: Path) -> None:
    classifier = ROOT / "configs/adm/digits_classifier.py"
    error = program("--config", classifier, "--mode", "tune", "--workdir", tmp_path).error
    assert "a classifier has no samples, so its sampler cannot be tuned" in error
