"""Fields that are ``auto``: resolved when a configuration is read, recorded, kept by what goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models import register_model
from run_lib.automatic.machine import GIB, Machine
from run_lib.automatic.setup import FIELDS, choose_setup
from run_lib.config import automatic, plans
from run_lib.config.configuration import read
from run_lib.config.files import load_config_file
from run_lib.training.checkpoints import Checkpoints
from tests.run_lib.pictures import random_pixels
from tests.run_lib.planned import planned, with_fields
from tests.run_lib.program import ROOT, Outcome, program, run
from tests.run_lib.tiny import get_config as tiny

SIZES = (32, 64, 96, 128, 256)
SHORT = {"training__n_iters": 2, "training__batch_size": 4, "device": "cpu", "sampling__num_samples": 2,
         "model__nf": 32, "model__ch_mult": "(1,1)", "training__snapshot_sampling": False}  # fmt: skip


def config(size: int) -> Path:
    return ROOT / f"configs/auto/{size}.py"


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say how many GiB this machine has."""

    def have(gib: int, kind: str = "cpu") -> None:
        monkeypatch.setattr(automatic, "this_machine", lambda device: Machine(kind, gib * GIB, "float32"))

    return have


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(24):
        Image.fromarray(random_pixels(number, 32, 32, 3)).save(folder / f"{number}.png")
    return folder


def checkpoint(workdir: Path) -> None:
    """A file where one would be."""
    path = Checkpoints(workdir / "checkpoints").path(1)
    path.parent.mkdir()
    path.write_bytes(b"")


def trained(images: Path, workdir: Path, **fields: Any) -> Outcome:
    return run(config(32), "train", workdir, data__root=images, **{**SHORT, **fields})


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_planned_and_recorded(size: int, memory: Any) -> None:
    """On a machine of the least memory; the record has numbers, and the network is of the size."""
    memory(1)
    configuration = read(load_config_file(str(config(size))))
    recorded = configuration.record.values
    for path in ("training.precision", *FIELDS):
        section, _, field = path.partition(".")
        assert recorded[section][field] not in ("auto", None), path
    assert list(configuration.automatic) == ["training.precision", *FIELDS]
    plan = planned(load_config_file(str(config(size))), plans.description)
    assert plan.shape == (3, size, size)


def test_the_choice_is_said_with_reasons_before_anything_starts(images: Path, tmp_path: Path) -> None:
    """Each field that is read and was not given; what was given is not among them."""
    out = trained(images, tmp_path / "run").out
    said = out[: out.index("training  ") if "training  " in out else None]
    for field in ("model.attn_resolutions", "training.microbatch", "training.precision", "optim.lr"):
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {field} = ")]
        assert len(line.split("  ")) > 2, line
    assert "  model.nf = " not in out


@pytest.mark.slow
def test_a_run_goes_on_with_what_it_began_with(images: Path, tmp_path: Path, memory: Any) -> None:
    """On a machine with other memory; so do samples of its work directory, and a run that resumes from it."""
    memory(8)
    given = {key: value for key, value in SHORT.items() if key not in ("model__nf", "training__batch_size")}
    run(config(32), "train", tmp_path / "run", data__root=images, training__microbatch=1, **given,
        training__batch_size=2)  # fmt: skip
    record = json.loads((tmp_path / "run/config.json").read_text())
    assert record["model"]["nf"] == 32
    memory(64)
    assert read(load_config_file(str(config(32)))).values.model.nf == 64
    again = {**given, "training__n_iters": 3, "training__batch_size": 2}
    out = run(config(32), "train", tmp_path / "run", data__root=images, **again)
    assert "continuing from" in out.out
    assert "model.nf = 32" in out.out
    assert out.out.count(f"as in {tmp_path / 'run/config.json'}") == 1  # all in a line
    assert "2 samples" in run(config(32), "sample", tmp_path / "run", **given).out
    other = {
        **again,
        "training__n_iters": 4,
        "resume_from": Checkpoints(tmp_path / "run/checkpoints").path(3),
    }
    assert "model.nf = 32" in run(config(32), "train", tmp_path / "other", data__root=images, **other).out


def test_a_record_without_checkpoints_binds_nobody(tmp_path: Path, memory: Any) -> None:
    """A run that found no room for its first step begins anew, with what is chosen then."""
    memory(64)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"nf": 192, "ch_mult": [1, 2]}}))
    assert read(load_config_file(str(config(32))), workdir=tmp_path).values.model.nf == 64
    checkpoint(tmp_path)
    model = read(load_config_file(str(config(32))), workdir=tmp_path).values.model
    assert (model.nf, model.ch_mult) == (192, (1, 2))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is no JSON .*, and config fields that are auto have"):
        read(load_config_file(str(config(32))), workdir=tmp_path)


def test_a_measured_value_is_that_of_the_run_too(tmp_path: Path) -> None:
    """The same mechanism: where the data's measurements are gone, the work directory has the number."""
    checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"sigma_max": 37.5}}))
    ve = load_config_file("ncsnpp/cifar10_ve_continuous")
    with ve.ignore_type():
        ve.model.sigma_max = "auto"
    with pytest.raises(ValueError, match="run --mode stats first"):
        read(ve)
    assert read(ve, workdir=tmp_path).values.model.sigma_max == 37.5


def test_auto_is_for_the_network_that_is_known(tmp_path: Path) -> None:
    out = program("--config", ROOT / "configs/ddpm/cifar10.py", "--mode", "describe", optim__lr="auto")
    assert "config.optim.lr=auto is chosen for images and model.name='adm' alone" in out.error
    assert "this is 'ddpm' for samples of shape (3, 32, 32): set a value" in out.error
    assert "model.num_scales=auto: a whole number is expected" in program(
        "--config", config(32), "--mode", "describe", model__num_scales="auto"
    ).error.replace("--config.", "")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(register_model))
def test_the_precision_is_the_devices_for_every_network(
    name: str, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the shape of the data; the reason names the kind of device."""
    monkeypatch.setattr(automatic, "this_machine", lambda device: Machine("cpu", GIB, precision))
    fields = {"model__name": name, "training__precision": "auto", "data__shape": (2,)}
    found = read(with_fields(tiny(), fields))
    assert found.values.training.precision == precision
    (choice,) = found.automatic.values()
    assert choice.reason == "the fastest that this cpu computes in"


@pytest.mark.parametrize("family", ["ddpm", "adm", "edm", "edm2", "dit", "flow", "vdm"])
def test_what_trains_here_takes_the_processors_precision(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automatic, "this_machine", lambda device: Machine("cpu", GIB, "bfloat16"))
    assert read(load_config_file(f"{family}/fashion_mnist")).values.training.precision == "bfloat16"


def test_memory_is_counted_in_the_precision_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 fewer images fit at a time than in bfloat16; TF32 is kept in float32."""
    found = {}
    adm = load_config_file("adm/imagenet_64")
    for kind in ("float32", "bfloat16", "tf32"):
        chosen = "float32" if kind == "tf32" else kind
        monkeypatch.setattr(
            automatic, "this_machine", lambda device, kind=chosen: Machine("cuda", 16 * GIB, kind)
        )
        fields = {
            "training__microbatch": "auto",
            "training__precision": kind if kind == "tf32" else "auto",
            "data__image_size": 64,
        }
        found[kind] = read(with_fields(adm, fields)).values.training.microbatch
    assert found["tf32"] == found["float32"] < found["bfloat16"]


def test_other_configurations_take_auto_as_well(memory: Any) -> None:
    """What an ADM network's file sets holds; what it leaves to the network is the network's default."""
    memory(24, "cuda")
    adm = load_config_file("adm/imagenet_64")
    with adm.ignore_type():
        adm.training.microbatch = "auto"
    found = read(adm).automatic
    assert list(found) == ["training.microbatch"]
    assert 0 < found["training.microbatch"].value < 128


def test_wrong_fields_are_refused_before_the_choice() -> None:
    """As they are where nothing is chosen."""
    for field, value, said in (
        ("training__accumulate", 0, "config.training.accumulate"),
        ("data__image_size", 0, "config.data.image_size"),
        ("model__nf", 0, "config.model.nf"),
        ("model__ch_mult", "()", "config.model.ch_mult"),
    ):
        assert said in program("--config", config(32), "--mode", "describe", **{field: value}).error


def test_the_choice_knows_all_that_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Averages, batches of a step and shared weights; of what an ADM network's file leaves unset, the default."""
    asked: list[tuple[Any, ...]] = []

    def choose(size: Any, machine: Machine, given: Any, **more: Any) -> Any:
        asked.append((size, given, more))
        return choose_setup(size, machine, given, **more)

    monkeypatch.setattr(automatic, "choose_setup", choose)
    adm = load_config_file("adm/imagenet_64")
    more = {"model__ema_rates": (0.99,), "model__ema_stds": (0.05, 0.1), "training__accumulate": 2,
            "training__shard": True, "training__microbatch": "auto", "model__num_res_blocks": None,
            "data__image_size": (64, 32), "device": "cpu", "training__precision": "float16"}  # fmt: skip
    read(with_fields(adm, more))
    ((size, given, context),) = asked
    assert size == (64, 32)
    assert context == {"half": True, "accumulate": 2, "averages": 4, "shard": True}
    assert (given["model.nf"], given["model.num_res_blocks"]) == (192, 2)
    assert "training.microbatch" not in given
