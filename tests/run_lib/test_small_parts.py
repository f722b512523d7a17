"""Parts of the program that tests of larger things pass over, each against what it should be."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ml_collections import ConfigDict
from torch import Tensor, nn

from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.exact.mixtures import GaussianMixtureScore
from run_lib import stopping
from run_lib.config import plans
from run_lib.config.configuration import Record, complete
from run_lib.config.listing import describe_component, listing
from run_lib.data.levels import DataSpec
from run_lib.editing import interpolation
from run_lib.editing.image_table import ImageTable
from run_lib.evaluation.task import CheckpointTask
from run_lib.files import atomic_folder, write_json
from run_lib.processes import Processes
from run_lib.training.curves import Curves
from run_lib.training.undo import KeptOptimizer
from run_lib.tuning import jobs
from run_lib.tuning.scorers import AgainstModes
from sde_lib import VPSDE, Noise
from tests.run_lib.pictures import pixels_of, random_pixels, save
from tests.run_lib.planned import planned
from tests.run_lib.program import GAUSSIAN, program, run
from tests.run_lib.test_control import EIGHT_BITS, done, report, results
from tests.run_lib.test_convert import converted, ncsnpp, trained
from tests.run_lib.test_tune import FEW
from tests.run_lib.tiny import get_config as tiny

# TensorBoard's own imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


# Data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dequantised", [True, False])
def test_values_of_levels(centred: bool, dequantised: bool) -> None:
    """Four levels: 0, 1/3, 2/3, 1, or the centres of quarters; of [-1, 1] or [0, 1]. Bins lie at the same values, and
    dequantised data in the level's own quarter."""
    data = DataSpec("any", lambda split: None, None, (1,), 4, centred, dequantised, False)  # type: ignore[arg-type,return-value]
    levels = torch.arange(4)[:, None]
    unit = torch.tensor([1, 3, 5, 7]) / 8 if dequantised else torch.tensor([0, 1, 2, 3]) / 3
    wanted = 2 * unit - 1 if centred else unit
    torch.testing.assert_close(data.at_levels(levels)[:, 0], wanted)
    assert data.bins is not None
    assert (data.bins.levels, data.bins.lowest, data.bins.highest) == pytest.approx(
        (4, float(wanted[0]), float(wanted[-1]))
    )
    drawn = data.dequantized(levels.expand(4, 500), Noise(0, range(4)))
    share = ((drawn + 1) / 2 if centred else drawn) * 4 - levels
    assert 0 <= share.min() < 0.01 < 0.99 < share.max() <= 1
    continuous = DataSpec("any", lambda split: None, None, (1,), 0, centred, False, False)  # type: ignore[arg-type,return-value]
    assert continuous.bins is None
    assert continuous.at_levels(torch.tensor([0.3])).tolist() == pytest.approx([0.3])


def test_shares_of_modes_that_no_sample_has() -> None:
    """All samples of the first of two modes of weights 1/4 and 3/4, or of the second: the distance is the other's."""
    target = GaussianMixtureScore(
        process=VPSDE(), means=[[0.0, 0.0], [5.0, 0.0]], stds=[0.1, 0.1], weights=[1.0, 3.0]
    )
    scorer = AgainstModes(target.modes((2,)), 4)
    for centre, distance in ((0.0, 0.75), (5.0, 0.25)):
        found = {s.metric: s.value for s in scorer.scores(np.full((4, 2), (centre + 0.01, 0.01)))}
        assert found["weights"] == pytest.approx(distance)


# Files ---------------------------------------------------------------------------------------------


def test_json_is_written_to_be_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1]})
    assert (tmp_path / "a.json").read_text().splitlines()[:2] == ["{", '  "a": [']


def test_folders_are_made_with_those_above_them(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a/b/c") as partial:
        (partial / "d").write_text("e")
    assert (tmp_path / "a/b/c/d").read_text() == "e"
    with Curves(tmp_path / "f/g", purge_step=0) as curves:
        curves.add_scalar("loss", 1.0, 1)
    assert curves.path.parent == tmp_path / "f/g"
    assert curves._file is not None and curves._file.closed


def test_tables_of_images(tmp_path: Path) -> None:
    """A table of another kind is refused; an image has one value; a line that is cut short is dropped."""
    path = tmp_path / "table.csv"
    table = ImageTable(path, "error", float)
    table.add(["a", "b"], [1.0, 2.0])
    table.add(["b"], [3.0])
    assert ("a" in table, "c" in table, table["b"], table.get("c")) == (True, False, 3.0, None)
    again = ImageTable(path, "error", float)
    assert (again["a"], again["b"]) == (1.0, 3.0)
    again.sort(["b"])
    assert path.read_text() == "image,error\nb,3.0\na,1.0\n"
    path.write_text("image,error\na,1.0\nb,2")
    assert ImageTable(path, "error", float).get("b") is None
    assert path.read_text() == "image,error\na,1.0\n"
    for content in ("image,hash\na,1.0\n", "image,error\na,one\n", "image,error\na,1,2\n", "\n"):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"is no table of images and errors, .*move it away"):
            ImageTable(path, "error", float)
    with pytest.raises(ValueError, match="zip"):
        table.add(["c"], [1.0, 2.0])


# Evaluations ---------------------------------------------------------------------------------------


def test_rows_that_are_lost(tmp_path: Path) -> None:
    """An image is in a mean if it is finite, and all its values; the reason says whose fault it is."""
    said: dict[str, Any] = {}

    class Task(CheckpointTask):
        def lose(self, name: str, reasons: dict[int, str], what: str = "image") -> None:
            said.update({name: reasons})

    task = Task(None, None, None, tmp_path)  # type: ignore[arg-type]
    values = np.zeros((4, 2, 3))
    values[1, 1, 2], values[2, 0, 0] = np.nan, np.inf
    data = np.array([True, True, False, False])
    assert task.lose_rows("a", data, values).tolist() == [True, False, False, False]
    assert sorted(said["a"]) == [1, 2, 3]
    assert all(("the image holds NaN" in said["a"][i]) == (i > 1) for i in (1, 2, 3))
    assert task.lose_rows("b", np.ones(2, bool), np.zeros(2)).tolist() == [True, True]
    assert "b" not in said


def test_batches_that_are_too_few_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three processes two have work; seconds are of the work alone, and are added."""

    def compute(rows: range) -> dict[str, np.ndarray]:
        return {"x": np.asarray(rows)}

    for count, said in ((3, "x: 2 batches for 3 processes"), (2, ""), (1, "")):
        task = CheckpointTask(None, None, None, tmp_path / str(count), Processes(0, 1))  # type: ignore[arg-type]
        object.__setattr__(task, "processes", SimpleNamespace(
            world_size=count, is_main=False, own_batches=range, barrier=lambda: None
        ))  # fmt: skip
        found = task.batches("x", 10, 5, compute)
        assert found["x"].tolist() == list(range(10))
        assert 0 <= float(found["seconds"]) < 5
        assert capsys.readouterr().out.startswith(said) if said else not capsys.readouterr().out


@pytest.mark.parametrize("mode", ["sample", "eval"])
def test_a_clean_run_has_no_notes(mode: str, tmp_path: Path) -> None:
    """The first time, and the second, when everything is there already."""
    few: dict[str, Any] = {
        "sample": {"sampling__num_samples": 3, "sampling__num_steps": 2},
        "eval": {"eval__enable_bpd": False, "eval__enable_sampling": False, "eval__enable_loss": True},
    }[mode]
    for _ in range(2):
        outcome = run(GAUSSIAN, mode, tmp_path, **few)
        assert "note:" not in outcome.err
        assert "processes" not in outcome.out


# Ends ----------------------------------------------------------------------------------------------


def test_a_signal_where_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*args: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "write", closed)
    with stopping.watching(), stopping.finishing("the work") as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        with pytest.raises(stopping.Stopped):
            stop.leave()


def test_several_processes_stop_when_they_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another was sent counts from the next listening on, what this one was sent not before; and a second signal,
    which torch's launcher sends on, ends nothing."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    told: list[int] = []
    others = iter([0, 0, signal.SIGINT])

    def heard(number: int) -> int:
        told.append(number)
        return max(number, next(others))

    with stopping.watching(), stopping.finishing("the work", heard) as stop:
        stop.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert not stop.asked
        stop.leave()
        stop.listen()
        assert stop.asked
        with pytest.raises(stopping.Stopped) as stopped:
            stop.leave("it")
        assert stopped.value.signal is signal.SIGTERM
    with stopping.watching(), stopping.finishing("the work", heard) as stop:
        stop.listen()
        with pytest.raises(stopping.Stopped) as stopped:
            stop.leave("it")
        assert stopped.value.signal is signal.SIGINT
    assert told == [0, signal.SIGTERM, 0]


def test_a_sweep_ends_after_the_set_that_a_signal_meets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = jobs.draw, [0]

    def draw(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(*args, **kwargs)

    monkeypatch.setattr(jobs, "draw", draw)
    outcome = program("--config", GAUSSIAN, "--mode", "tune", "--workdir", tmp_path, **FEW)
    assert outcome.status == 143
    assert calls[0] == 2, "of four"
    assert len(list((tmp_path / "tune").rglob("*_00?.json"))) == 2


# Training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [True, False])
def test_settings_of_an_optimiser_are_put_back_with_its_moments(back: bool) -> None:
    """What the first step makes is gone, and the learning rate that it was given."""
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    kept = KeptOptimizer(optimizer)
    optimizer.param_groups[0]["lr"] = 0.5
    weight.grad = torch.ones(2)
    optimizer.step()
    kept.put_back(torch.tensor(back))
    assert optimizer.param_groups[0]["lr"] == (0.1 if back else 0.5)
    assert bool(optimizer.state) != back
    assert weight.tolist() == pytest.approx([1.0 if back else 0.5] * 2)
    kept = KeptOptimizer(optimizer)
    optimizer.param_groups[0]["lr"] = 0.7
    kept.put_back(torch.tensor(back))
    assert optimizer.param_groups[0]["lr"] == (0.1 if back else 0.7)


# Configurations ------------------------------------------------------------------------------------


def test_stored_configurations_are_checked() -> None:
    with pytest.raises(ValueError, match=r"unknown config field config\.sampling\.predictr"):
        complete(ConfigDict({"sampling": {"predictr": "ddim"}}))


def test_the_hash_of_a_record_is_of_its_values() -> None:
    """Not of the order in which a file has set them."""
    one, other = Record({"a": {"b": 1, "c": 2}, "d": 3}), Record({"d": 3, "a": {"c": 2, "b": 1}})
    assert one.hash == other.hash != Record({"a": {"b": 2, "c": 2}, "d": 3}).hash


def test_lines_of_the_list_are_no_longer_than_the_page() -> None:
    assert max(map(len, listing([]).splitlines())) <= 110


def test_settings_without_a_default_are_listed() -> None:
    assert "--config.model.means=<no default>" in describe_component("gaussian_mixture")
    with pytest.raises(ValueError, match=r"unknown component 'gausian'"):
        describe_component("gausian")


GUIDED = {"guidance__name": "classifier", "guidance__classifier": "exact"}
FREE = {"guidance__name": "classifier_free", "model__num_classes": 8}
OWN = "p(x | labels), labels given"
MEANINGS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", ""),
    ({"model__num_classes": 8}, OWN, OWN),
    (GUIDED, "the guided flow's own density (classifier, scale 1): p(x | labels) as far as the classifier is the "
     "model's own", "of the model without guidance"),
    ({**GUIDED, "guidance__scale": 3.0}, "the guided flow's own density (classifier, scale 3), not p(x | labels)",
     "of the model without guidance"),
    ({**GUIDED, "guidance__interval": (0.1, 0.5)}, "the guided flow's own density (classifier, scale 1), not "
     "p(x | labels)", "of the model without guidance"),
    ({**GUIDED, "model__num_classes": 8}, "the guided flow's own density (classifier, scale 1), not p(x | labels)",
     f"of the model without guidance: {OWN}"),
    (FREE, OWN, f"of the model without guidance: {OWN}"),
    ({**FREE, "guidance__scale": 0.0}, "p(x), no label given", f"of the model without guidance: {OWN}"),
    ({**FREE, "guidance__scale": 0.0, "guidance__rescale": 0.5}, "the guided flow's own density (classifier_free, "
     "scale 0), not p(x | labels)", f"of the model without guidance: {OWN}"),
    ({**FREE, "guidance__scale": 0.0, "guidance__interval": (0.1, 0.5)}, "the guided flow's own density "
     "(classifier_free, scale 0), not p(x | labels)", f"of the model without guidance: {OWN}"),
    ({**FREE, "guidance__scale": 2.0}, "the guided flow's own density (classifier_free, scale 2), not p(x | labels)",
     f"of the model without guidance: {OWN}"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "likelihood", "bound"), MEANINGS)
def test_what_likelihoods_are_of(fields: dict[str, Any], likelihood: str, bound: str) -> None:
    from configs.toy.mixture_2d import get_config as mixture

    found = planned(mixture(), plans.sampling, fields).guidance
    assert (found.likelihood_of, found.bound_of) == (likelihood, bound)


# Conversion ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "schedule"),
    [
        (
            {"training__sde": "vesde", "training__continuous": True, "model__sigma_min": 0.02, "model__sigma_max": 7.0,
             "model__num_scales": 30, "sampling__snr": 0.12, "sampling__corrector": "langevin"},
            NoiseSchedule("vesde", {"sigma_min": 0.02, "sigma_max": 7.0, "N": 30}, True, "v", snr=0.12),
        ),
        (
            {"training__sde": "vpsde", "training__continuous": False, "model__num_scales": 30, "model__beta_max": 9.0},
            NoiseSchedule("ddpm", {"N": 30, "beta_min": 0.1, "beta_max": 9.0, "schedule": "linear"}, False, "v"),
        ),
        (
            {"training__sde": "ddpm", "model__num_scales": 30, "model__beta_schedule": "cosine"},
            NoiseSchedule("ddpm", {"N": 30, "beta_min": 0.1, "beta_max": 20.0, "schedule": "cosine"}, False, "v"),
        ),
        ({"training__sde": "vpsde", "training__continuous": True}, None),
        ({"training__sde": "vesde", "training__continuous": False}, None),
        ({"training__sde": "subvpsde"}, None),
        ({"training__sde": "ddpm", "model__num_scales": 2, "model__betas": (0.1, 0.2)}, None),
    ],
)  # fmt: skip
def test_schedules_of_processes(fields: dict[str, Any], schedule: NoiseSchedule | None) -> None:
    """By the names of diffusers' schedulers: two processes have one."""
    assert (
        planned(tiny(), plans.conversion, {"sampling__predictor": "ancestral_sampling", **fields}).schedule
        == schedule
    )


def test_sigmas_of_a_converted_network(tmp_path: Path) -> None:
    """Descending in equal ratios from sigma_max to sigma_min, num_scales of them."""
    fields = {"num_scales": 5, "sigma_min": 0.01, "sigma_max": 100.0}
    trained(ncsnpp(**fields), tmp_path)
    held = torch.load(converted(ncsnpp(**fields), tmp_path, "score_sde"), weights_only=True)["model"]
    sigmas: Tensor = next(value for name, value in held.items() if name.endswith("sigmas"))
    assert sigmas.tolist() == pytest.approx([100, 10, 1, 0.1, 0.01])


# Interpolation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "at_once"), [(10, 2), (9, 1), (4, 1)])
def test_pairs_at_once(batch: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pairs as their frames fit into a batch, and one at least; each frame's score is against the nearer end,
    the middle one's against the second."""
    for seed in range(4):
        save(tmp_path / f"in/{seed}.png", random_pixels(seed))
    sizes, whole = [], interpolation.interpolate

    def watched(inversion: Any, a: Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(a))
        return whole(inversion, a, *args, **kwargs)

    monkeypatch.setattr(interpolation, "interpolate", watched)
    folder = done(tmp_path, "interpolate", input=tmp_path / "in", frames=5, sampling__batch_size=batch,
                  sampling__grid_size=5, **EIGHT_BITS)  # fmt: skip
    assert sizes == [at_once] * (2 // at_once)
    frames, rows = results(folder)[:, 0].astype(float), report(folder)["images"]
    assert [len(row["results"]) for row in rows] == [5, 5]
    for k, row in enumerate(rows):
        for place, result in enumerate(row["results"]):
            assert result["file"] == f"results/{2 * k}_{place}.png"
            end = random_pixels(2 * k + (place >= 3 or 2 * place >= 5))
            error = float(((frames[5 * k + place] - end) ** 2).mean())
            assert result["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=0.05)
    shown = pixels_of(folder / "grid.png")[..., 0]
    side = (shown.shape[1] - 2) // 7 - 2  # seven pictures, margins of two between and around them
    for place, end in ((0, 0), (6, 1)):
        left = 2 + place * (side + 2)
        assert (shown[2 : 2 + side : side // 8, left : left + side : side // 8] == random_pixels(end)).all()


# Restoration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"control__task": "inpaint", "control__method": "replacement"}, ("method", "sampler")),
        ({"control__task": "inpaint", "control__method": "pseudo_inverse"}, ("method", "sampler")),
        ({"control__task": "sdedit"}, ("sampler",)),
    ],
)
def test_stored_times_reach_every_restoration(fields: dict[str, Any], place: tuple[str, ...]) -> None:
    """The sampler within has the times that it is given, and nothing else is changed."""
    from configs.toy.gaussian_image import get_config as image

    work = planned(image(), plans.control, {"control__input": "test", **fields}).work
    times = torch.tensor([0.9, 0.5, 0.01], dtype=torch.float64)
    before: Any = work
    after: Any = work.with_times(times)
    for name in place:
        before, after = getattr(before, name), getattr(after, name)
    assert after.times is times
    assert before.times is not times
    assert (after.model, after.predictor) == (before.model, before.predictor)


def test_an_ode_has_no_times_to_store() -> None:
    from configs.toy.gaussian_image import get_config as image

    fields = {"control__input": "test", "control__task": "inpaint", "control__method": "pseudo_inverse",
              "sampling__method": "ode"}  # fmt: skip
    work = planned(image(), plans.control, fields).work
    assert work.with_times(torch.ones(3)).method is work.method
