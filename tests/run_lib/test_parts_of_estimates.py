"""Small parts of evaluations, sweeps and training: which draws, errors, comparisons and findings, each by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from configs.toy.gaussian_2d import get_config as plane
from losses.of_samples import Losses
from run_lib.config import plans
from run_lib.config.command_line import _is_switch
from run_lib.config.configuration import read
from run_lib.config.sweep import parse_sweep
from run_lib.evaluation.fidelity import Fidelity, fidelity, mean
from run_lib.evaluation.likelihood_errors import Spread, spread
from run_lib.evaluation.report import Lost, Number, Report
from run_lib.evaluation.subset import Draws, precise_enough
from run_lib.fingerprint import Basis
from run_lib.locks import FILE, is_bare
from run_lib.ours import check_links
from run_lib.training.curves import Curves
from run_lib.training.state import load_optimizer
from run_lib.training.watch import MOST, Findings, Watch
from run_lib.tuning.comparison import compare
from run_lib.tuning.jobs import Scored, ScoreFiles
from run_lib.tuning.results import CandidateScores, SweepResult
from run_lib.tuning.scores import Metric, Score
from tests.run_lib.planned import planned
from tests.run_lib.tiny import get_config as tiny


def test_draws_of_images() -> None:
    """Three images of two draws each, image by image; a stream is the image's plus 2^32 for each further draw."""
    draws = Draws.of(3, 2)
    assert len(draws) == 6
    assert draws.images(range(1, 5)).tolist() == [0, 1, 1, 2]
    assert draws.streams(range(1, 5)).tolist() == [2**32, 1, 1 + 2**32, 2]
    assert [draws.batch_size(asked) for asked in (1, 2, 3, 4, 5)] == [2, 2, 2, 4, 4]
    assert draws.by_image(np.arange(6.0)).tolist() == [[0, 2, 4], [1, 3, 5]]
    assert draws.by_image(np.arange(8.0).reshape(4, 2)).shape == (2, 2, 2)
    shuffled = Draws.of(50, 1, shuffle_seed=3)
    assert sorted(shuffled.order.tolist()) == list(range(50)) != shuffled.order.tolist()


def test_enough_images() -> None:
    """From 32 on, where the standard error has reached the target; NaN does not count."""
    values = np.array([-1.0, 1.0] * 16)
    error = float(values.std(ddof=1) / math.sqrt(32))
    assert precise_enough(values, error * (1 + 1e-9))
    assert not precise_enough(values, error * (1 - 1e-9))
    assert not precise_enough(values[:31], 10.0)
    assert not precise_enough(np.append(values[:31], np.nan), 10.0)
    assert precise_enough(np.append(values, [np.nan, np.inf]), error * (1 + 1e-9))


def test_errors_of_likelihoods() -> None:
    """Two draws of three images, by hand: means 1, 2, 6; variances of the draws 2, 0, 8 of two draws each."""
    values = np.array([[0.0, 2.0, 4.0], [2.0, 2.0, 8.0]])
    found = spread(values, np.full((2, 3), 0.6), noisy=True)
    assert found.value == 3
    assert found.together == pytest.approx(math.sqrt(7 / 3))
    assert found.draws == pytest.approx(math.sqrt(10 / 3 / 6))
    assert found.images == pytest.approx(math.sqrt(7 / 3 - 10 / 18))
    assert found.probes == pytest.approx(math.sqrt(0.36 / 6))
    alone = spread(values[:1], np.full((1, 3), np.nan), noisy=True)
    assert (alone.draws, alone.images, alone.probes) == (None, None, None)
    quiet = spread(values[:1], np.full((1, 3), 0.6), noisy=False)
    assert quiet.draws == quiet.probes == pytest.approx(math.sqrt(0.36 / 3))
    assert Spread(1.0, 2.0, None, 3.0, None).scaled(2.0) == Spread(2.0, 4.0, None, 6.0, None)
    weighted = spread(
        np.log([[1.0, 2.0], [3.0, 2.0]]), np.zeros((2, 2)), noisy=True, importance_weighted=True
    )
    assert weighted.value == pytest.approx(math.log(2))
    assert weighted.draws == pytest.approx(math.log(3) / 2 / 2), "variances (log 3)^2 / 4 and 0"


def test_fidelity_of_small_and_of_equal_images() -> None:
    """No window of 7 fits into 6; equal images have no PSNR, and a difference of 0.1 everywhere has 20 dB."""
    for side, windows in ((6, False), (7, True)):
        image = torch.rand(1, side, 8, generator=torch.Generator().manual_seed(0)) * 0.8
        same, other = fidelity(image, image), fidelity(image + 0.1, image)
        assert same.psnr is None
        assert other.psnr == pytest.approx(20, abs=1e-4)
        assert (same.ssim == pytest.approx(1)) if windows else same == Fidelity(None, None)
        assert (other.ssim is not None) == windows
    assert (mean([1.0, None, 4.0]), mean([None]), mean([])) == (2.5, None, None)


# Reports -------------------------------------------------------------------------------------------

NUMBER = Number("bpd/test", 1.5, 0.25, 10, "bits/dim", 80.0, 3.5, 42, "hash", 6, fingerprint="f")


def test_what_is_lost_of_a_report(tmp_path: Path) -> None:
    """It is written, read again, of its evaluation alone, and gone when the number is made of something else."""
    report = Report(tmp_path / "report.json")
    report.lose("bpd/test", 6, "hash", {3: "r", 5: "s"}, "f")
    report.lose("frechet/pixels", 6, "hash", {1: "t"}, "g", "sample")
    again = Report(tmp_path / "report.json")
    for one in (report, again):
        assert [str(lost) for lost in one.lost(6, "hash", "f")] == [
            "bpd/test: image 3 has no likelihood: r", "bpd/test: image 5 has no likelihood: s",
        ]  # fmt: skip
        assert [str(lost) for lost in one.lost(6, "hash", "g")] == [
            "frechet/pixels: sample 1 has no number: t"
        ]
        assert one.lost(7, "hash", "f") == one.lost(6, "other", "f") == []
    again.add(NUMBER)
    assert len(again.lost(6, "hash", "f")) == 2
    again.add(replace(NUMBER, fingerprint="h"))
    assert again.lost(6, "hash", "f") == []
    silent = Report(tmp_path / "other.json", writes=False)
    silent.add(NUMBER)
    assert not silent.path.exists()
    assert [Lost(n, 0, "", "", 0).likelihood for n in ("bpd/a", "nats/a", "vlb/a", "loss/a")] == [
        True
    ] * 3 + [False]


def test_numbers_of_before(tmp_path: Path) -> None:
    """What they were made from is named where it is known; they are not taken for new ones."""
    report, old = Report(tmp_path / "report.json"), Basis({"weights": "1", "program": "1"})
    assert report.begin(6, "hash", old) == ""
    report.add(replace(NUMBER, fingerprint=old.hash), replace(NUMBER, name="x", step=7, fingerprint=old.hash))
    assert report.begin(6, "hash", old) == ""
    new = Basis({"weights": "2", "program": "1"})
    again = Report(tmp_path / "report.json")
    assert f"1 numbers of step 6 are of other {new.changed(old.parts)[0]}" in again.begin(6, "hash", new)
    assert again.has("bpd/test", 6, "hash", old.hash)
    assert not again.has("bpd/test", 6, "hash", new.hash)
    assert [n.name for n in again.of(6, "hash", old.hash)] == ["bpd/test"]
    unknown = Report(tmp_path / "unknown.json")
    unknown.add(NUMBER)
    assert "a program that did not record" in unknown.begin(6, "hash", new)
    assert str(replace(NUMBER, stderr_draws=0.125)) == "1.5 +- 0.25 (draws 0.12) bits/dim"


# Sweeps --------------------------------------------------------------------------------------------


def swept(text: str, losses: list[float]) -> SweepResult:
    """A sweep whose candidates have these losses, each without an error."""
    sweep, metric = parse_sweep(text), Metric("distance", "least", "a distance")
    rows = tuple(
        CandidateScores(one, np.array([[loss, loss]]), 1.0, 0.0)
        for one, loss in zip(sweep.candidates, losses, strict=True)
    )
    return SweepResult(
        sweep, (metric,), metric, rows, compare(np.array(losses)[:, None].repeat(2, 1), 0.9), 0.9
    )


@pytest.mark.parametrize(
    ("losses", "best", "edge", "as_good"),
    [
        ([3, 1, 2], 0.2, False, [0.2]),
        ([1, 2, 3], 0.1, True, [0.1]),
        ([3, 2, 1], 0.3, True, [0.3]),
        ([1, 1, 2], 0.1, True, [0.1, 0.2]),
        ([2, 1, 1], 0.2, False, [0.2, 0.3]),
        ([1, 1, 1], 0.1, True, [0.1, 0.2, 0.3]),
        ([1, 2, 1], 0.1, True, [0.1, 0.3]),
        ([math.nan, 2, 1], 0.3, True, [0.3]),
    ],
)
def test_results_of_a_sweep(losses: list[float], best: float, edge: bool, as_good: list[float]) -> None:
    """The least loss, the first of several; those that cannot be told from it, wherever they lie."""
    found = swept("snr=0.1,0.2,0.3", losses)
    assert found.best["snr"] == best
    assert found.at_the_edge is edge
    assert [one["snr"] for one in found.as_good] == as_good
    assert [row.failed for row in found.rows] == [math.isnan(loss) for loss in losses]


def test_results_of_a_sweep_of_names() -> None:
    """Names have no order: all that cannot be told apart, and no edge."""
    found = swept("predictor=ddim,ancestral_sampling,none", [1, 2, 1])
    assert [one["predictor"] for one in found.as_good] == ["ddim", "none"]
    assert found.at_the_edge is False
    lost = replace(found.rows[0], lost=(3,))
    assert lost.failed
    assert lost.failed is True


# Training ------------------------------------------------------------------------------------------


def findings(faulty: bool = False, overflow: bool = False, **parts: Tensor) -> Findings:
    fine: dict[str, Any] = {
        "data": torch.ones(2, dtype=torch.bool), "losses": Losses(torch.ones(2), torch.zeros(2), None),
        "gradients": torch.ones(2), "weights": torch.ones(2), **parts,
    }  # fmt: skip
    return Findings(names=["a", "b"], faulty=torch.tensor(faulty), overflow=torch.tensor(overflow), **fine)


def test_causes_that_are_of_no_element() -> None:
    """Losses whose sum is beyond the largest number, and a norm, where each element is finite."""
    large: Any = Losses(torch.full((2,), 3e38), torch.zeros(2), None)
    assert findings(losses=large).cause([0, 1]) == "the mean of the losses overflows"
    assert findings().cause([0, 1]).startswith("the norm of the gradient overflows")
    infinite = torch.tensor([1.0, math.inf])
    assert findings(gradients=infinite).cause([0, 1]) == "the gradient is not finite: b"
    assert findings(weights=infinite).cause([0, 1]) == "the weights after the step are not finite: b"


def test_steps_are_counted_from_the_last_that_was_read() -> None:
    """Overflows neither begin nor end a row of faults; it is read when so many wait."""
    watch = Watch()
    assert watch.read(0) == []
    for faulty, overflow in ((True, False), (False, True), (True, False)):
        watch.note(findings(faulty, overflow))
    assert [(one.step, one.in_a_row) for one in watch.read(13)] == [(10, 1), (12, 2)]
    assert (watch.skipped, watch.overflows, watch.in_a_row, watch.progress) == (2, 1, 2, True)
    assert watch.read(13) == []
    for number in range(MOST):
        assert watch.full == (number >= MOST)
        watch.note(findings())
    assert watch.full
    assert watch.read(13 + MOST) == []
    assert watch.in_a_row == 0
    assert [bool(findings(*one).sound) for one in ((False, False), (True, False), (False, True))] == [
        True,
        False,
        False,
    ]


def test_groups_of_an_optimiser() -> None:
    one, two = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    ours = torch.optim.Adam([one, two], lr=0.1)
    theirs = torch.optim.Adam([{"params": [one]}, {"params": [two]}], lr=0.1)
    with pytest.raises(ValueError, match="has 2 groups of parameters and the configuration's 1"):
        load_optimizer(ours, theirs.state_dict())


# Folders and components ----------------------------------------------------------------------------


def test_folders_with_a_lock_alone(tmp_path: Path) -> None:
    assert is_bare(tmp_path)
    (tmp_path / FILE).touch()
    assert is_bare(tmp_path)
    (tmp_path / "other").touch()
    assert not is_bare(tmp_path)


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    """Within the folder they are taken; one to itself leads nowhere, one out of it elsewhere."""
    folder = tmp_path / "work"
    (folder / "a").mkdir(parents=True)
    (folder / "inside").symlink_to(folder / "a")
    check_links(folder)
    for name, target in (("itself", folder / "itself"), ("outside", tmp_path)):
        (folder / name).symlink_to(target)
        with pytest.raises(ValueError, match=f"{name} is a link to"):
            check_links(folder)
        (folder / name).unlink()


def test_components_in_words() -> None:
    """And one whose parameter has neither a value nor a default."""
    assert str(read(tiny()).choose("predictor")) == "predictor 'unipc'"
    with pytest.raises(ValueError, match=r"needs 'covariance', and it is not in config\.model\.covariance"):
        planned(plane(), plans.sampling, {"model__name": "correlated_gaussian"})


# Files that are no good ----------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["{", "{}", '{"scores": [{"no": 1}], "nfe": 1, "seconds": 1}'])
def test_scores_that_were_cut_short_are_made_again(content: str, tmp_path: Path) -> None:
    files, candidate = ScoreFiles(tmp_path), parse_sweep("snr=0.1,0.2").candidates[0]
    assert files.read(candidate, 0) is None
    files.write(candidate, 0, Scored((Score("distance", 1.5),), 4, 0.5, (7,)))
    (path,) = tmp_path.iterdir()
    assert files.read(candidate, 0) == Scored((Score("distance", 1.5),), 4, 0.5, (7,))
    path.write_text(content)
    assert files.read(candidate, 0) is None
    files.write(candidate, 0, Scored((Score("distance", 2.5),), 4, 0.5, (7,)))
    assert files.read(candidate, 0) == Scored((Score("distance", 2.5),), 4, 0.5, (7,))


def test_curves_that_cannot_begin_hold_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(curves: Curves, purge_step: int) -> None:
        raise OSError

    monkeypatch.setattr(Curves, "_begin", fails)
    curves = object.__new__(Curves)
    with pytest.raises(OSError):
        curves.__init__(tmp_path, 0)  # type: ignore[misc]
    assert curves._file.closed


def test_flags_that_take_no_value() -> None:
    """Of a field that there is and that is true or false."""
    assert _is_switch("data.random_flip") is True
    for path in ("data.levels", "data", "seed", "seed.part", "other.flag"):
        assert _is_switch(path) is False, path
    assert _is_switch("eval.enable_anything") is True
