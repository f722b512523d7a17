"""Weights that do not fit: what is said names the flags that mend it, and those flags do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.fixtures.nvlabs_files import of_fixture
from tests.fixtures.score_sde_files import payload_of, save
from tests.fixtures.weights import Fixture
from tests.models.test_diffusers_checkpoint import EXAMPLE, NCSNPP_SMALL, SMALL, random_unet
from tests.run_lib.program import TINY, program, run
from tests.run_lib.test_init_from import plan_of, run_in, with_moments
from tests.run_lib.test_tasks import CHAIN, CLASSIFIER

Change = Callable[[dict[str, Any]], object]
AVERAGES: dict[str, Change] = {
    "none": lambda p: p.pop("ema"),
    "too few": lambda p: p["ema"]["shadow_params"].pop(),
    "out of order": lambda p: p["ema"]["shadow_params"].reverse(),
}


def spoilt(case: str, folder: Path) -> Path:
    payload = with_moments(payload_of(Fixture("score_sde/ddpm.npz")))
    AVERAGES[case](payload)
    return save(payload, folder)


@pytest.mark.parametrize("case", AVERAGES)
def test_averages_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    """The flag that is named loads the raw ones."""
    path, fixture = str(spoilt(case, tmp_path)), Fixture("score_sde/ddpm.npz")
    with pytest.raises(
        ValueError, match=r"\. Load the raw ones with --config\.init_from_ema=False\.$"
    ) as said:
        run_in(tmp_path).weights(plan_of(fixture, init_from=path).subject)
    assert " ema=False" not in str(said.value)
    run_in(tmp_path).weights(plan_of(fixture, init_from=path, init_from_ema=False).subject)


@pytest.mark.parametrize("case", ["too few", "out of order"])
def test_a_training_that_lacks_its_averages(case: str, tmp_path: Path) -> None:
    """No training goes on without them; from its raw weights one starts."""
    path, fixture = str(spoilt(case, tmp_path)), Fixture("score_sde/ddpm.npz")
    wanted = f"start one from the raw ones, with --config.init_from={path} --config.init_from_ema=False in place of"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        run_in(tmp_path).new_state(plan_of(fixture, resume_from=path))


def test_averages_of_an_ncsn_by_other_names(tmp_path: Path) -> None:
    fixture = Fixture("ncsn/ncsn_v2.npz")
    averages = {**fixture.weights, "another": torch.zeros(1)}
    path = save([fixture.weights, {}, 0, 0, averages], tmp_path)
    said = program(
        "--config", "ncsnv2/cifar10", "--mode", "sample", "--workdir", tmp_path / "run", init_from=path,
        device="cpu",
    ).error  # fmt: skip
    assert said.endswith(
        "differ in 1 names, first another. Load the raw ones with --config.init_from_ema=False."
    )


def flags_in(said: str) -> list[str]:
    """The flags that an error names, as a shell reads them."""
    return shlex.split(said.partition("What makes it fit is ")[2])


FOLDERS = {
    **{
        name: (SMALL[name], "ddpm/cifar10_diffusers")
        for name in ("ddpm_two_blocks_uncentred", "ddpm_classes", "ddpm_training_example")
    },
    "wide": ({**SMALL["ddpm"], "sample_size": [8, 16]}, "ddpm/cifar10_diffusers"),
    "ncsnpp": (NCSNPP_SMALL, "ncsnpp/cifar10_ve_continuous"),
    "of another kind": (EXAMPLE, "adm/digits"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[] if name in ("wide", "ncsnpp", "ddpm_training_example") else pytest.mark.slow
        )
        for name in FOLDERS
    ],
)
def test_a_folder_of_another_network(name: str, tmp_path: Path) -> None:
    """The first command says which network it is, and with those flags the same command samples from it."""
    settings, config = FOLDERS[name]
    random_unet(settings).save_pretrained(tmp_path / "model")
    command = ("--config", config, "--mode", "sample", "--workdir", tmp_path / "run", "--config.device=cpu",
               "--config.model.nf=64", "--config.sampling.num_samples=1", "--config.sampling.num_steps=2",
               f"--config.init_from={tmp_path / 'model'}")  # fmt: skip
    said = program(*command).error
    assert "describe_folder" not in said
    outcome = program(*command, *flags_in(said))
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "run/samples/samples.npz").is_file()


def test_what_fits_is_not_named(tmp_path: Path) -> None:
    """A single field that does not is named alone, and none where a weight is missing."""
    random_unet(SMALL["ddpm"]).save_pretrained(tmp_path / "model")
    command = ("--config", "ddpm/cifar10_diffusers", "--mode", "sample", "--workdir", tmp_path / "run",
               "--config.device=cpu", f"--config.init_from={tmp_path / 'model'}")  # fmt: skip
    flags = flags_in(program(*command).error)
    assert "--config.data.image_size=16" in flags
    assert all("out_channels" not in flag for flag in flags)
    said = program(*command, *flags, "--config.model.nf=64", "--config.model.dropout=0.1").error
    assert said.endswith(". What makes it fit is --config.model.nf=32")
    file = tmp_path / "model/diffusion_pytorch_model.safetensors"
    held = load_file(file)
    del held["conv_in.bias"]
    save_file(held, file)
    said = program(*command, *flags).error
    assert said.endswith(
        "1 missing in the file: conv_in.bias. Fetch it again, or write it again by the program that it is of."
    )


FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "guided_diffusion": (
        lambda folder: save(Fixture("guided_diffusion/unet_adm.npz").weights, folder, "ema.pt"),
        "adm/digits",
    ),
    "nvlabs": (lambda folder: of_fixture(Fixture("edm/ncsnpp_ve.npz"), folder / "a.pkl"), "edm/digits"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_tells_its_network(name: str, tmp_path: Path) -> None:
    """The same of a single file: names and shapes, or a constructor's arguments, say which network it is."""
    write, config = FILES[name]
    command = ("--config", config, "--mode", "sample", "--workdir", tmp_path / "run", "--config.device=cpu",
               "--config.sampling.num_samples=1", "--config.sampling.num_steps=2",
               f"--config.init_from={write(tmp_path)}")  # fmt: skip
    flags = flags_in(program(*command).error)
    assert not any(flag.startswith(("--config.model.num_head", "--config.model.dropout")) for flag in flags)
    outcome = program(*command, *flags)
    assert outcome.status == 0, outcome.err


def test_a_file_of_another_network(tmp_path: Path) -> None:
    fixture = Fixture("score_sde/ddpm.npz")
    path = str(save(payload_of(fixture), tmp_path))
    plan = plan_of(Fixture("score_sde/ddpmpp.npz"), init_from=path)
    wanted = (
        r"does not fit the network .* Set the fields of config\.model to those of the file's network, or give"
    )
    with pytest.raises(ValueError, match=wanted):
        run_in(tmp_path).weights(plan.subject)


def test_a_network_that_a_format_lacks(tmp_path: Path) -> None:
    """The field, not the constructor's argument, and what to do."""
    fields: dict[str, object] = {**CHAIN, "model__name": "ncsnpp", "model__output": "eps"}
    fields |= {
        "model__num_heads": None,
        "model__num_groups": None,
        "model__progressive": "output_skip",
        "model__progressive_input": "input_skip",
    }
    fields |= {"model__resblock_type": "ddpm", "model__ch_mult": "(1,1)", "model__use_scale_shift_norm": None}
    run(TINY, "train", tmp_path, training__n_iters=1, **fields)
    said = program(
        "--config", TINY, "--mode", "convert", "--workdir", tmp_path, convert__to="diffusers", **fields
    ).error  # fmt: skip
    assert said == (
        "diffusers' UNet2DModel has this network only with config.model.resblock_type='biggan'. Take another format, "
        "--config.convert.to."
    )


def test_a_classifier_of_another_network(tmp_path: Path) -> None:
    names = ("time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight")
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "model.pt")
    lines = [f"    config.{field.replace('__', '.')} = {value!r}" for field, value in CLASSIFIER.items()]
    text = [
        "from tests.run_lib.tiny import get_config as tiny",
        "",
        "",
        "def get_config():",
        "    config = tiny()",
    ]
    text += ["    config.unlock()", *lines, "    return config", ""]
    (tmp_path / "theirs.py").write_text("\n".join(text))
    run(TINY, "train", tmp_path / "run", **CHAIN, training__n_iters=1)
    said = program(
        "--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run", **CHAIN, guidance__name="classifier",
        guidance__classifier=tmp_path / "model.pt", guidance__classifier_config=tmp_path / "theirs.py",
    ).error  # fmt: skip
    assert "does not fit the network 'adm_encoder'" in said
    assert said.endswith(
        "Give the configuration that it was trained with as --config.guidance.classifier_config."
    )
