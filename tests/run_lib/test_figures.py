"""Pictures and plots: what is drawn, where."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from run_lib.config import plans
from run_lib.config.sweep import Candidate, Change, Sweep
from run_lib.pictures import picture, rows_of_images
from run_lib.tuning import report, tune
from tests.run_lib.planned import planned
from tests.run_lib.program import run
from tests.run_lib.test_parts_of_estimates import swept
from tests.run_lib.test_tune import FEW, LANGEVIN, table
from tests.run_lib.tiny import get_config as tiny


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written, as they are."""
    seen: list[Figure] = []
    monkeypatch.setattr(report, "_save", lambda figure, path: seen.append(figure))
    return seen


def named(handles: Any, label: str) -> list[Any]:
    return [handle for handle in handles if handle.get_label() == label]


@pytest.mark.parametrize(("values", "scale"), [("0.02,0.1,0.3", "log"), ("0.1,0.2,0.3", "linear")])
def test_a_sweep_is_plotted_as_its_table_says(
    values: str, scale: str, figures: list[Figure], tmp_path: Path
) -> None:
    """A panel for each metric: means at the values, logarithmic over a factor of 8 with the values alone as ticks; in
    that of the variance 1 + snr^2, the law of Langevin's stationary variance; the best; those that are as good."""
    fields = {**FEW, "tune__sweep": f"snr={values}", "tune__num_samples": 30, "tune__confidence": 0.9999}
    run(LANGEVIN, "tune", tmp_path, **fields)
    found, (figure,) = table(tmp_path), figures
    rows = found["rows"]
    for axes, metric in zip(figure.axes, ("variance",), strict=True):
        assert axes.get_xscale() == scale
        assert (len(axes.xaxis.get_minorticklocs()) == 0) or scale == "linear"
        assert axes.get_xlabel() == "snr"
        assert axes.get_legend() is not None
        (bars,) = axes.containers
        assert bars[0].get_xdata().tolist() == [row["snr"] for row in rows]
        assert bars[0].get_ydata() == pytest.approx([row[metric] for row in rows])
        law = named(axes.lines, "1 + snr²")
        (line,) = law
        assert line.get_ydata() == pytest.approx(1 + line.get_xdata() ** 2)
        (best,) = named(axes.lines, f"best by {found['ranked_by']['name']}")
        chosen = next(row for row in rows if row["best"])
        assert (best.get_xdata()[0], best.get_ydata()[0]) == pytest.approx((chosen["snr"], chosen[metric]))
        good = [one["snr"] for one in found["as_good"]]
        (span,) = named(axes.patches, "cannot be told from it")
        assert len(good) > 2, "with this confidence nothing can be told from the best"
        assert (span.get_x(), span.get_x() + span.get_width()) == pytest.approx((good[0], good[-1]))
        assert span.get_facecolor()[:3] == pytest.approx(to_rgb("crimson"))


def test_values_apart_from_those_around_the_best_are_marked_and_named_apart(
    figures: list[Figure], capsys: pytest.CaptureFixture[str]
) -> None:
    """0.1 and 0.2 are equal, 0.3 is worse, 0.4 is as good again: a span and a line, one entry in the legend."""
    result = swept("snr=0.1,0.2,0.3,0.4", [1, 1, 2, 1])
    report.draw_plot(result, Path("unused"))
    (axes,) = figures[0].axes
    spans: list[Any] = list(axes.patches)
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in spans] == [
        (0.1, pytest.approx(0.2)),
        (0.4, pytest.approx(0.4)),
    ]
    assert spans[1].get_linewidth() == 1, "a span without width is seen by its edge"
    labels = axes.get_legend_handles_labels()[1]
    assert labels.count("cannot be told from it") == 1
    tune._print(result, 2, Path("folder"))
    out = capsys.readouterr().out
    assert "cannot be told from it: snr from 0.1 to 0.2 and snr=0.4\n" in out
    assert "at 90 % for all settings together" in out


def test_a_variance_that_is_no_law_of_the_swept_field_has_no_law(
    figures: list[Figure], tmp_path: Path
) -> None:
    run(LANGEVIN, "tune", tmp_path, **{**FEW, "tune__sweep": "num_steps=3,4", "tune__num_samples": 30})
    assert not [line for axes in figures[0].axes for line in named(axes.lines, "1 + snr²")]


class Parts:
    """First samples of two candidates."""

    def __init__(self, *samples: np.ndarray) -> None:
        self.held = dict(enumerate(samples))

    def samples(self, candidate: Candidate) -> np.ndarray:
        return self.held[int(candidate["n"])]


SWEEP = Sweep(("n",), tuple(Candidate((Change("n", n),)) for n in (0, 1)))


def test_first_samples_are_shown_in_a_column_for_each_candidate(figures: list[Figure]) -> None:
    """Two images of the first candidate, one of the second; level 16 of 17 is white."""
    data = planned(tiny(), plans.sampling).data
    images = np.random.default_rng(0).integers(0, 17, (3, 1, 8, 8))
    report.draw_picture(SWEEP, Parts(images[:2], images[2:]), data, 2, Path("unused"))  # type: ignore[arg-type]
    (figure,) = figures
    shown = [[i.get_array() for i in axes.images] for axes in figure.axes]
    assert [len(one) for one in shown] == [1, 1, 1, 0]
    for (array,), which in zip(shown[:3], (0, 2, 1), strict=True):
        assert array is not None
        assert np.asarray(array) == pytest.approx(np.repeat(images[which, 0, :, :, None] / 16, 3, 2))


def test_titles_of_columns_stay_apart(figures: list[Figure]) -> None:
    """Names that are longer than a column is wide are cut behind ``=`` and ``_``, and no letter is lost."""
    data = planned(tiny(), plans.sampling).data
    names = ("ancestral_sampling", "euler_maruyama", "sde_dpm_solver_multistep")
    sweep = Sweep(
        ("predictor", "n"),
        tuple(Candidate((Change("predictor", name), Change("n", n))) for n, name in enumerate(names)),
    )
    image = np.zeros((1, 1, 8, 8), int)
    report.draw_picture(sweep, Parts(image, image, image), data, 1, Path("unused"))  # type: ignore[arg-type]
    (figure,) = figures
    figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(one.x1 <= other.x0 for one, other in pairwise(boxes))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    written = [axes.title.get_text().replace("\n", "") for axes in figure.axes]
    assert written == [f"predictor={name}n={n}" for n, name in enumerate(names)]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_first_points_are_shown_by_their_first_two_coordinates(dims: int, figures: list[Figure]) -> None:
    points = np.random.default_rng(0).normal(size=(5, dims))
    data = SimpleNamespace(shape=(dims,), levels=0)
    report.draw_picture(SWEEP, Parts(points, points[:3]), data, 4, Path("unused"))  # type: ignore[arg-type]
    offsets = [np.asarray(axes.collections[0].get_offsets()) for axes in figures[0].axes]
    wanted = np.concatenate([points, np.zeros((5, 1))], 1)[:, :2]
    assert offsets[0] == pytest.approx(wanted[:4])
    assert offsets[1] == pytest.approx(wanted[:3])


def test_points_are_drawn_across_and_up() -> None:
    """Points (0, y) lie above one another, points (x, 0) beside one another."""
    data: Any = SimpleNamespace(shape=(2,), levels=0)
    along = torch.linspace(-1, 1, 40)
    for points, tall in (
        (torch.stack([0 * along, along], 1), True),
        (torch.stack([along, 0 * along], 1), False),
    ):
        pixels = picture(points, data).astype(int)
        blue = pixels[..., 2] - pixels[..., 0] > 60
        rows, columns = np.flatnonzero(blue.any(1)), np.flatnonzero(blue.any(0))
        assert (np.ptp(rows) > 5 * np.ptp(columns)) == tall
        assert (np.ptp(columns) > 5 * np.ptp(rows)) != tall


def test_images_lie_on_grey() -> None:
    """Two pixels of margin; a row that is shorter ends in grey too, and grey is 0.5 of 255."""
    black, white = torch.zeros(1, 8, 8), torch.ones(1, 8, 8)
    pixels = rows_of_images([[black, white], [white]])
    side = (pixels.shape[0] - 6) // 2
    assert (pixels[:2] == 128).all() and (pixels[:, :2] == 128).all()
    assert (pixels[2 : 2 + side, 2 : 2 + side] == 0).all()
    assert (pixels[2 : 2 + side, 4 + side : 4 + 2 * side] == 255).all()
    assert (pixels[4 + side :, 4 + side :] == 128).all()
