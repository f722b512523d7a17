"""Snapshots of NVlabs' programs: every form loads, and what is malicious, damaged, foreign or huge is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.checkpoints.architecture import Architecture
from models.checkpoints.loader import load_weights
from models.checkpoints.misfits import ArchitectureError
from models.checkpoints.nvlabs import build, snapshot
from models.checkpoints.nvlabs_config import read_arguments
from models.checkpoints.reader import read_payload
from models.networks.edm import EDMPreconditioned
from tests.fixtures import nvlabs_files
from tests.fixtures.weights import Fixture

SMALL = Fixture("edm2/small.npz")


def tuples(arguments: dict[str, Any]) -> dict[str, Any]:
    """As a file's arguments are read."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}


def expected(network: nn.Module, path: Path) -> bool:
    """Whether one weight that no family turns is that of the formula."""
    held = dict(network.named_parameters())["network.conv_in.weight"]
    return torch.allclose(held, SMALL.weights["unet.enc.16x16_conv.weight"], rtol=1e-3)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("new", [False, True])
def test_files_of_every_age_load(protocol: int, new: bool, tmp_path: Path) -> None:
    """EDM's dictionary or EDM2's, which is one of dnnlib's; the protocols of Python 3; weights in float16."""
    half = {name: w if w.ndim == 0 else w.half() for name, w in SMALL.weights.items()}
    held = nvlabs_files.network("Precond", SMALL.meta["kwargs"], half)
    path = nvlabs_files.snapshot(held, tmp_path / "edm2-0000123-0.050.pkl", new=new, protocol=protocol)
    found = snapshot(read_payload(path))
    assert (found.architecture.name, found.architecture.preconditioning) == ("edm2", "edm")
    network = build(found.architecture)
    report = load_weights(network, path)
    assert report.family == "nvlabs"
    assert expected(network, path)
    assert {entry.partition(":")[0] for entry in report.ignored} == (
        {"encoder", "loss_fn", "dataset_kwargs"} if new else {"augment_pipe", "loss_fn", "dataset_kwargs"}
    )


def test_arguments_without_names_are_those_of_the_constructor_in_its_order(tmp_path: Path) -> None:
    given = dict(SMALL.meta["kwargs"])
    first = (given.pop("img_resolution"), given.pop("img_channels"), given.pop("label_dim"))
    held = nvlabs_files.network("Precond", given, SMALL.weights)
    held.state["_init_args"] = first
    path = nvlabs_files.snapshot(held, tmp_path / "a.pkl", new=True)
    assert snapshot(read_payload(path)) == read_arguments("Precond", tuples(SMALL.meta["kwargs"]))


RAN: list[str] = []


class Runs:
    """Pickles as a call."""

    def __init__(self, *how: Any) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return self.how


HOSTILE: dict[str, Any] = {
    "os.system": Runs(os.system, ("touch ran",)),
    "eval": Runs(eval, ("RAN.append('x')",)),
    "a module of torch": nn.Linear(1, 1),
    "a function of torch's": Runs(torch.load, ("x",)),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("place", ["beside", "within", "argument"])
def test_nothing_of_a_malicious_file_runs(
    what: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = nvlabs_files.network("Precond", SMALL.meta["kwargs"], SMALL.weights)
    {"beside": {}, "within": held.state, "argument": held.state["_init_kwargs"]}[place]["evil"] = HOSTILE[
        what
    ]
    whole: Any = held if place != "beside" else {"ema": held, "evil": HOSTILE[what]}
    path = nvlabs_files.snapshot(whole, tmp_path / "a.pkl", new=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"is refused: it is a pickle that names \S+, which could run any code"
    ) as caught:
        read_payload(path)
    assert "\n" not in str(caught.value)
    assert not RAN
    assert os.listdir(tmp_path) == ["a.pkl"]


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused_by_name(share: float, tmp_path: Path) -> None:
    path = nvlabs_files.of_fixture(SMALL, tmp_path / "a.pkl")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"a\.pkl") as caught:
        read_payload(path)
    assert "\n" not in str(caught.value)


def test_foreign_pickles_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    nvlabs_files.snapshot({"no": "network"}, path, new=True)
    with pytest.raises(ValueError, match="is a pickle, but no snapshot of EDM or EDM2"):
        read_payload(path)
    held = nvlabs_files.network("Precond", SMALL.meta["kwargs"], SMALL.weights)
    del held.state["_init_kwargs"]
    nvlabs_files.snapshot(held, path, new=True)
    with pytest.raises(ValueError, match="is a pickle of a network that lacks parts, or has strange ones"):
        read_payload(path)


def test_modules_that_hold_one_another_end(tmp_path: Path) -> None:
    """Of 60 levels with the same module twice in each, whose names are 2^60."""
    held = nvlabs_files.network("Precond", SMALL.meta["kwargs"], SMALL.weights)
    for _ in range(60):
        outer = nvlabs_files.network("Precond", SMALL.meta["kwargs"], {})
        outer.state["_modules"] = {"a": held, "b": held}
        held = outer
    start = time.process_time()
    with pytest.raises(ValueError, match="strange ones"):
        read_payload(nvlabs_files.snapshot(held, tmp_path / "a.pkl", new=True))
    assert time.process_time() - start < 30


HUGE = {
    "num_blocks": 10**9,
    "model_channels": 10**9,
    "channel_mult": [1] * 10**4,
    "img_resolution": 10**9,
    "channels_per_head": 0,
    "dropout": 7.0,
}


@pytest.mark.parametrize("name", HUGE)
def test_numbers_that_no_network_has_are_refused_before_anything_is_made(name: str) -> None:
    given = {**SMALL.meta["kwargs"], name: HUGE[name]}
    with pytest.raises(ValueError):
        build(read_arguments("Precond", given).architecture, weights=False)
    with pytest.raises(ValueError, match=r"N lies in \[2, 1000000\], got 10{12}"):
        build(
            read_arguments(
                "iDDPMPrecond", {"img_resolution": 16, "img_channels": 3, "M": 10**12}
            ).architecture
        )


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("Precond", {"res_balance": 0.5}, "res_balance=0.5; edm2 has"),
        ("Precond", {"channel_mult_noise": 3}, "channel_mult_noise=3"),
        ("Precond", {"novel": 1}, "arguments that are not known here: novel"),
        ("Other", {}, "network is a 'Other'; of the classes"),
        ("EDMPrecond", {"model_type": "UNet"}, "network is a 'UNet'; known are SongUNet and DhariwalUNet"),
        ("EDMPrecond", {"model_type": "SongUNet", "encoder_type": "skip"}, "of these, known are edm_ddpmpp"),
        ("EDMPrecond", {"model_type": "SongUNet", "channel_mult_emb": 2}, "channel_mult_emb=2; SongUNet has"),
        (
            "EDMPrecond",
            {"model_channels": 64},
            "levels of 64 channels, which it normalises in fewer than 32 groups",
        ),
    ],
)
def test_other_architectures_are_refused_with_their_arguments(
    kind: str, changes: dict[str, Any], message: str
) -> None:
    given = SMALL.meta["kwargs"] if kind == "Precond" else {"img_resolution": 16, "img_channels": 3}
    with pytest.raises(ArchitectureError, match=message):
        read_arguments(kind, {**given, **changes})


def test_published_arguments() -> None:
    """EDM's and EDM2's published networks, by the options of their training scripts."""
    faces = {
        "img_resolution": 64, "img_channels": 3, "label_dim": 0, "augment_dim": 9, "dropout": 0.05, "use_fp16": False,
        "model_type": "SongUNet", "embedding_type": "fourier", "encoder_type": "residual", "decoder_type": "standard",
        "channel_mult_noise": 2, "resample_filter": [1, 3, 3, 1], "model_channels": 128, "channel_mult": [1, 2, 2, 2],
    }  # fmt: skip
    assert read_arguments("EDMPrecond", tuples(faces)).architecture == Architecture(
        "edm_ncsnpp",
        {
            "augment_labels": 9, "channels": 128, "channel_mult": (1, 2, 2, 2), "num_res_blocks": 4, "dropout": 0.05,
            "image_size": (64, 64), "in_channels": 3, "out_channels": 3, "num_classes": None,
            "attention_resolutions": (16,),
        },
        "edm",
        {"sigma_data": 0.5},
    )  # fmt: skip
    found = read_arguments(
        "VPPrecond", {"img_resolution": 32, "img_channels": 3, "label_dropout": 0.1, "use_fp16": True}
    )
    assert (found.label_dropout, found.half) == (0.1, True)
    assert found.architecture.wrapping == {"beta_min": 0.1, "beta_max": 20.0, "N": 1000}


def test_another_preconditioning_or_none_is_refused(tmp_path: Path) -> None:
    path = nvlabs_files.of_fixture(SMALL, tmp_path / "a.pkl")
    architecture = snapshot(read_payload(path)).architecture
    network = build(architecture)
    assert isinstance(network, EDMPreconditioned)
    with pytest.raises(
        ArchitectureError, match=r"EDMPreconditioned of sigma_data=0\.5, and here.*sigma_data=1"
    ):
        load_weights(EDMPreconditioned(network.network, sigma_data=1.0), path)
    with pytest.raises(ArchitectureError, match="networks in a preconditioning, and EDM2 has none: set"):
        load_weights(network.network, path)
    inner = build(Architecture("ddpm", {"image_size": (8, 8), "channels": 32, "channel_mult": (1,)}, "edm"))
    with pytest.raises(ArchitectureError, match="no network with DDPM's parameter"):
        load_weights(inner, path)


def test_a_file_of_torchs_former_format_is_none_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    torch.save({"weight": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    assert read_payload(path)["weight"].tolist() == [1, 1]
