"""Configurations against the facts of those they stand for."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from models import count_parameters
from run_lib.config.configuration import complete
from run_lib.config.training import TrainingPlan
from tests.blueprint import Blueprint
from tests.run_lib.planned import subject

ROOT = Path(__file__).parents[1]
FACTS = json.loads((ROOT / "tests/fixtures/score_sde/configs.json").read_text())
# The table that users read is the one that is tested.
PAIRS = dict(
    re.findall(
        r"^\| `((?:vp|ve|subvp)/\S+)\.py` \| `(\S+)\.py` \|$", (ROOT / "docs/configs.md").read_text(), re.M
    )
)
# What to evaluate is asked for at the command line here; the last are paths on the authors' disks.
NO_HYPERPARAMETERS = {
    "eval.begin_ckpt",
    "eval.end_ckpt",
    "eval.enable_loss",
    "eval.enable_sampling",
    "data.tfrecords_path",
}
# Misspelt in single files; the counterpart has the fields that were meant.
MISSPELT = {"training.loss", "training.continuouse", "model.sigma_begin"}


def ours(path: str) -> ConfigDict:
    config: ConfigDict = importlib.import_module(f"configs.{path.replace('/', '.')}").get_config()
    return config


def as_written(name: str, folder: Path) -> ConfigDict:
    """The configuration of a file that sets what the ancestor's file sets, on the defaults that it
    imports."""
    facts = FACTS["files"][name]
    lines = ["import ml_collections"]
    if facts["default"]:
        lines += [f"from configs.default_{facts['default']}_configs import get_default_configs"]
    lines += ["def get_config():"]
    if facts["default"]:
        lines += ["  config = get_default_configs()"]
    else:
        lines += ["  config = ml_collections.ConfigDict()"]
        sections = {field.split(".")[0] for field in facts["sets"] if "." in field}
        lines += [f"  config.{section} = ml_collections.ConfigDict()" for section in sorted(sections)]
    for field, value in facts["sets"].items():
        lines += [f"  config.{field} = {tuple(value) if field.endswith('ch_mult') else value!r}"]
    path = folder / "as_written.py"
    path.write_text("\n".join([*lines, "  return config", ""]))
    spec = importlib.util.spec_from_file_location("as_written", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()  # type: ignore[no-any-return]


def test_every_file_of_the_ancestor_has_a_counterpart() -> None:
    assert PAIRS.keys() == FACTS["files"].keys()
    assert len(set(PAIRS.values())) == 39


@pytest.mark.parametrize("dataset", FACTS["defaults"])
def test_default_modules_have_the_ancestors_values(dataset: str) -> None:
    """Except for the embedding: there it is set for every network, here unset, which is the same for
    NCSN++."""
    module = importlib.import_module(f"configs.default_{dataset}_configs")
    config = complete(module.get_default_configs())
    expected = {k: v for k, v in FACTS["defaults"][dataset].items() if k != "model.embedding_type"}
    assert {field: _value(config, field) for field in expected} == expected


def optimisation(plan: TrainingPlan) -> dict[str, Any]:
    """Every setting of the optimiser, its defaults included."""
    found = plan.optimisation
    settings = ("beta1", "beta2", "eps", "amsgrad", "weight_decay")
    values = {name: found.optimizer.value(name) for name in settings}
    return {"optimizer": found.optimizer.name, "lr": found.lr, "schedule": found.schedule,
            "grad_clip": found.grad_clip, **values}  # fmt: skip


@pytest.mark.parametrize("name", FACTS["files"])
def test_counterpart_has_the_ancestors_values(name: str, tmp_path: Path) -> None:
    """Field for field where ours sets it; where it leaves a field to the network's default, the ancestor's
    file, run as it is, must lead to the same arguments of the same constructors."""
    facts = FACTS["files"][name]
    expected = FACTS["defaults"].get(facts["default"], {}) | facts["sets"]
    config = complete(ours(PAIRS[name]))
    wrong = {}
    for field in expected.keys() - NO_HYPERPARAMETERS - MISSPELT:
        value = _value(config, field)
        # bedroom.py of NCSNv2 meant continuous=False: discrete is what NCSNv2 is.
        meant = (
            False
            if field == "training.continuous" and "training.continuouse" in expected
            else expected[field]
        )
        if value is not None and value != meant:
            wrong[field] = (value, meant)
    assert not wrong

    here, there = Blueprint(ours(PAIRS[name])), Blueprint(as_written(name, tmp_path))
    assert here.arguments == there.arguments
    a, b = here.training, there.training
    assert a.settings == b.settings
    assert optimisation(a) == optimisation(b)
    assert a.objective.loss == b.objective.loss  # type: ignore[attr-defined]
    assert a.subject.averages == b.subject.averages
    times = [built.sampling.sampler.times.tolist() for built in (here, there)]  # type: ignore[union-attr]
    assert times[0] == times[1]
    each = [built.sampling.sampler.n_steps_each for built in (here, there)]  # type: ignore[union-attr]
    assert each[0] == each[1]
    data = ("name", "shape", "levels", "centered", "dequantize", "random_flip")
    mine, theirs = a.subject.data, b.subject.data
    assert [getattr(mine, field) for field in data] == [getattr(theirs, field) for field in data]


def _value(config: ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return list(config) if isinstance(config, tuple) else config


COUNTS = {
    # score_sde_pytorch, counted there
    "ddpm/cifar10": 35_218_947,
    "ddpm/bedroom": 111_569_923,
    "ddpmpp/cifar10_vp_continuous": 61_804_419,
    "ddpmpp/cifar10_vp_deep_continuous": 106_632_579,
    "ncsnpp/cifar10_ve_continuous": 62_758_915,
    "ncsnpp/cifar10_ve_deep_continuous": 107_587_075,
    "ncsnpp/ffhq_256_ve_continuous": 65_574_549,
    "ncsnpp/ffhq_1024_ve_continuous": 105_785_896,
    # guided-diffusion
    "adm/imagenet_64": 295_904_454,
    "adm/imagenet_128": 421_529_606,
    "adm/imagenet_256": 553_838_086,
    "adm/imagenet_256_uncond": 552_814_086,
    "adm/imagenet_512": 558_997_638,
    "adm/imagenet_64_256_upsampler": 311_795_910,
    "adm/imagenet_128_512_upsampler": 302_875_782,
    "adm/lsun_bedroom": 552_814_086,
    "adm/lsun_cat": 552_814_086,
    "adm/lsun_horse": 552_814_086,
    "adm/lsun_horse_nodropout": 552_814_086,
    "adm/classifier_64": 65_438_568,
    "adm/classifier_128": 42_568_040,
    "adm/classifier_256": 54_096_360,
    "adm/classifier_512": 54_448_360,
    # improved-diffusion
    "adm/improved_imagenet_64_uncond": 121_063_942,
    "adm/improved_cifar10": 52_546_438,
    "adm/improved_imagenet_64": 273_049_350,
    "adm/improved_upsampler": 279_792_390,
    "adm/improved_lsun_bedroom": 113_676_678,
    "adm/improved_lsun_bedroom_slow": 113_676_678,
    # EDM, counted there; of NCSN++ with its 128 frequencies, which are a table there
    "edm/cifar10_vp": 55_735_299,
    "edm/cifar10_ve": 56_400_643 + 128,
    "edm/cifar10_uncond_vp": 55_733_891,
    "edm/cifar10_uncond_ve": 56_397_827 + 128,
    "edm/ffhq_64_vp": 61_805_571,
    "edm/ffhq_64_ve": 62_761_091 + 128,
    "edm/afhqv2_64_vp": 61_805_571,
    "edm/afhqv2_64_ve": 62_761_091 + 128,
    "edm/imagenet_64": 295_899_267,
    # EDM2, counted there, with its frequencies and phases
    "edm2/imagenet_512_xs": 124_713_253 + 512,
    "edm2/imagenet_512_s": 280_212_837 + 640,
    "edm2/imagenet_512_m": 497_807_781 + 768,
    "edm2/imagenet_512_l": 777_498_085 + 896,
    "edm2/imagenet_512_xl": 1_119_283_749 + 1024,
    "edm2/imagenet_512_xxl": 1_523_164_773 + 1152,
    "edm2/imagenet_64_xs": 124_710_949 + 512,
    "edm2/imagenet_64_s": 280_209_381 + 640,
    "edm2/imagenet_64_m": 497_803_173 + 768,
    "edm2/imagenet_64_l": 777_492_325 + 896,
    "edm2/imagenet_64_xl": 1_119_276_837 + 1024,
    # DiT, counted there without its positions
    "dit/imagenet_256_s": 32_865_056,
    "dit/imagenet_256_b": 130_315_808,
    "dit/imagenet_256_l": 457_840_672,
    "dit/imagenet_256_xl": 674_834_720,
    "dit/imagenet_512_xl": 674_834_720,
    "flow/sit_imagenet_256_s": 32_865_056,
    "flow/sit_imagenet_256_b": 130_315_808,
    "flow/sit_imagenet_256_l": 457_840_672,
    "flow/sit_imagenet_256_xl": 674_834_720,
}


@pytest.mark.parametrize("path", COUNTS)
def test_number_of_parameters(path: str) -> None:
    assert count_parameters(subject(ours(path), weights=False).network) == COUNTS[path]


def test_sit_counts_time_from_noise() -> None:
    """SiT's x_t = t data + (1 - t) noise: its t is 1 less ours, and its velocity is from noise to data."""
    model = subject(ours("flow/sit_imagenet_256_s"), weights=False).sampling
    assert model.output == "reversed_velocity"
    told = model.time.labels(torch.tensor([1.0, 0.25], dtype=torch.float64))
    assert told.tolist() == [0.0, 0.75]


_G = "--learn_sigma True --resblock_updown True --use_scale_shift_norm True --diffusion_steps 1000"
_I = "--learn_sigma True --diffusion_steps 4000"
_OLD = "--rescale_timesteps False"
_LSUN = f"{_G} --attention_resolutions 32,16,8 --image_size 256 --num_channels 256 --num_head_channels 64"
_PLAIN = "--image_size 256 --num_channels 128 --num_res_blocks 2 --num_heads 1 --use_scale_shift_norm False"
# The flags of their READMEs, transcribed.
FLAGS = {
    "imagenet_64": f"{_G} --attention_resolutions 32,16,8 --class_cond True --dropout 0.1 --image_size 64 "
    "--noise_schedule cosine --num_channels 192 --num_head_channels 64 --num_res_blocks 3 "
    "--use_new_attention_order True",
    "imagenet_128": f"{_G} --attention_resolutions 32,16,8 --class_cond True --image_size 128 "
    "--num_channels 256",
    "imagenet_256": f"{_LSUN} --class_cond True",
    "imagenet_256_uncond": _LSUN,
    "imagenet_512": f"{_LSUN} --class_cond True --image_size 512",
    "imagenet_64_256_upsampler": f"{_G} --attention_resolutions 32,16,8 --class_cond True --image_size 256 "
    "--num_channels 192",
    "imagenet_128_512_upsampler": f"{_G} --attention_resolutions 32,16 --class_cond True --image_size 512 "
    "--num_channels 192 --num_head_channels 64",
    "lsun_bedroom": f"{_LSUN} --dropout 0.1",
    "lsun_cat": f"{_LSUN} --dropout 0.1",
    "lsun_horse": f"{_LSUN} --dropout 0.1",
    "lsun_horse_nodropout": f"{_LSUN} --dropout 0.0",
    "improved_imagenet_64_uncond": f"{_I} --noise_schedule cosine --num_res_blocks 3 --rescale_timesteps "
    "True",
    "improved_cifar10": f"{_I} --noise_schedule cosine --num_res_blocks 3 --image_size 32 --dropout 0.3 "
    "--rescale_timesteps True",
    "improved_imagenet_64": f"{_I} {_OLD} --noise_schedule cosine --num_res_blocks 3 --num_channels 192 "
    "--class_cond True",
    "improved_upsampler": f"{_I} {_OLD} --num_channels 192 --class_cond True --image_size 256",
    "improved_lsun_bedroom": f"{_PLAIN} {_OLD} --learn_sigma True --attention_resolutions 16",
    "improved_lsun_bedroom_slow": f"{_PLAIN} {_OLD} --learn_sigma True --attention_resolutions 16",
}
# What the scripts take for a flag that is not given; those of the two projects differ in rescale_timesteps
# alone.
FLAG_DEFAULTS = (
    "--image_size 64 --num_channels 128 --num_res_blocks 2 --num_heads 4 --num_head_channels -1 "
    "--attention_resolutions 16,8 --dropout 0.0 --class_cond False --use_scale_shift_norm True "
    "--resblock_updown False "
    "--use_new_attention_order False --learn_sigma False --diffusion_steps 1000 --noise_schedule linear "
    "--rescale_timesteps False"
)


@pytest.mark.parametrize("name", FLAGS)
def test_flags_of_the_published_unets(name: str) -> None:
    """What leaves no trace in a file's shapes is right as well: heads, order of attention, schedule,
    labels."""
    flag = dict(re.findall(r"--(\w+) (\S+)", f"{FLAG_DEFAULTS} {FLAGS[name]}"))
    built = Blueprint(ours(f"adm/{name}"))
    network, chain = built.network, built.arguments["ddpm_chain"]
    head_channels = int(flag["num_head_channels"])
    assert network["image_size"] == [int(flag["image_size"])] * 2
    assert network["channels"] == int(flag["num_channels"])
    assert network["num_res_blocks"] == int(flag["num_res_blocks"])
    assert network["attention_resolutions"] == [
        int(size) for size in flag["attention_resolutions"].split(",")
    ]
    assert network["dropout"] == float(flag["dropout"])
    assert network["num_classes"] == (1000 if flag["class_cond"] == "True" else None)
    assert network["out_channels"] == (6 if flag["learn_sigma"] == "True" else 3)
    if head_channels == -1:
        assert network["num_head_channels"] is None
        assert network["num_heads"] == int(flag["num_heads"])
    else:
        assert network["num_head_channels"] == head_channels
    for switch in ("use_scale_shift_norm", "resblock_updown", "use_new_attention_order"):
        assert network[switch] == (flag[switch] == "True"), switch
    assert chain["N"] == int(flag["diffusion_steps"])
    assert chain["schedule"] == flag["noise_schedule"]
    # The label of the noisiest level: its index, or the index in units of 1000 levels.
    top = chain["N"] - 1
    model = built.subject.sampling
    labels = model.time.labels(model.process.time([top]))
    assert float(labels) == pytest.approx(
        top * 1000 / chain["N"] if flag["rescale_timesteps"] == "True" else top
    )


@pytest.mark.parametrize(
    ("path", "size", "widths", "attends"),
    [
        # google/ddpm-cifar10-32 and google/ddpm-celebahq-256, of their config.json
        ("ddpm/cifar10_diffusers", 32, [128, 256, 256, 256], [1]),
        ("ddpm/celebahq_diffusers", 256, [128, 128, 256, 256, 512, 512], [4]),
    ],
)
def test_networks_of_the_hub(path: str, size: int, widths: list[int], attends: list[int]) -> None:
    from models.checkpoints.diffusers_names import as_unet

    unet = as_unet(subject(ours(path), weights=False).network, (size, size)).config()
    assert list(unet["block_out_channels"]) == widths
    assert [i for i, block in enumerate(unet["down_block_types"]) if block.startswith("Attn")] == attends
    assert (unet["layers_per_block"], unet["dropout"]) == (2, 0.0)
