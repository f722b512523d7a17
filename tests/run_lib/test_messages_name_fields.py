"""What a component refuses is said in the fields that a user sets, never in its constructor's parameters."""

from __future__ import annotations

from typing import Any

import pytest

from run_lib.config.components import Chosen, naming_fields
from run_lib.config.roles import ROLES
from tests.run_lib.program import TINY, program

RENAMED = [
    pytest.param(role, name, id=f"{key}, {name}")
    for key, role in ROLES.items()
    for name in role.choices
    if any(not path.endswith(f".{s.name}") for path, s in role.settings(role.choices[name]))
]


@pytest.mark.parametrize(("role", "name"), RENAMED)
def test_every_component_that_has_other_names_than_its_fields(role: Any, name: str) -> None:
    """A constructor that refuses each of its settings by name: each is said as the field that sets it."""
    settings = list(role.settings(role.choices[name]))

    def refusing(**given: Any) -> None:
        raise ValueError(" ".join(f"{setting.name}=1 is refused," for _, setting in settings))

    with (
        pytest.raises(ValueError, match="is refused") as caught,
        Chosen(role, name, role.choices[name], {}).naming_fields(),
    ):
        refusing()
    said = str(caught.value).split()
    for path, setting in settings:
        assert (f"{setting.name}=1" if path.endswith(f".{setting.name}") else f"config.{path}=1") in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fewer levels (channel_mult).", "fewer levels (config.model.ch_mult)."),
        ("entries in channel_mult.", "entries in config.model.ch_mult."),
        ("16 channels in all", "16 channels in all"),
        ("channels=16 and N=3", "config.model.nf=16 and config.model.num_scales=3"),
        ("more levels (N)", "more levels (config.model.num_scales)"),
        ("covariance (N, N)", "covariance (N, N)"),
        ("config.model.channel_mult, other_channel_mult", "config.model.channel_mult, other_channel_mult"),
        ("'channels=1' of a/channel_mult", "'channels=1' of a/channel_mult"),
        ("numpy.channel_mult channel_mult.py channel_mult(x)", "numpy.channel_mult channel_mult.py channel_mult(x)"),
    ],
)  # fmt: skip
def test_a_parameter_is_known_by_how_it_is_written(text: str, said: str) -> None:
    fields = {"channel_mult": "model.ch_mult", "channels": "model.nf", "N": "model.num_scales"}
    with pytest.raises(ValueError, match=r".") as caught, naming_fields(fields):
        raise ValueError(text)
    assert str(caught.value) == said


def test_an_error_that_needs_no_other_words_stays_itself() -> None:
    """Its type and what it carries, too."""
    error = UnicodeDecodeError("utf-8", b"", 0, 1, "channels")
    with pytest.raises(UnicodeDecodeError) as caught, naming_fields({"channels": "model.nf"}):
        raise error
    assert caught.value is error


ADM = {"model.name": "adm"}
ENCODER = {"model.name": "adm_encoder", "training.task": "classifier", "model.num_classes": 10}
MESSAGES: list[tuple[dict[str, object], list[str]]] = [
    ({**ADM, "model.ch_mult": "(1,1,1,1,1)"}, ["does not divide by (16, 16)", "entries in config.model.ch_mult."]),
    ({**ADM, "model.nf": 9}, ["entry of config.model.ch_mult)", "a config.model.num_groups that divides 9"]),
    ({**ADM, "model.ch_mult": "(0,)"}, ["adm's ch_mult", "got 0. (config.model.ch_mult)"]),
    ({**ADM, "model.attn_resolutions": "(5,)"}, ["config.model.attn_resolutions [5] are the size of no level"]),
    ({**ADM, "model.adm.channel_mult": "(0,)"}, ["adm's channel_mult", "(config.model.adm.channel_mult)"]),
    (
        {**ADM, "model.upsample": "transposed", "model.resamp_with_conv": False},
        ["it needs config.model.resamp_with_conv=True"],
    ),
    ({**ADM, "data.shape": "(1,2,2,2,2)"}, ["samples of 4 spatial axes: this network has 1, 2 or 3 of them"]),
    (
        {**ENCODER, "model.ch_mult": "(0.3,)"},
        ["config.model.nf=8 times 0.3, of config.model.ch_mult, is no whole number"],
    ),
    (
        {"model.name": "ddpm", "data.image_size": 9, "model.ch_mult": "(1,1)"},
        ["the nearest 8 or 10", "fewer levels (config.model.ch_mult)"],
    ),
    (
        {"model.name": "ncsnpp", "training.sde": "vesde", "model.embedding_type": "positional"},
        ["config.model.scale_by_sigma=True needs a noise level for each label of ncsnpp"],
    ),
    ({"training.sde": "ddpm", "model.num_scales": 8}, ["more levels (config.model.num_scales), or smaller betas"]),
    (
        {"training.sde": "smld", "model.sigma_min": 3.0, "model.sigma_max": 2.0},
        ["SMLD needs 0 < sigma_min < sigma_max, got 3.0 and 2.0"],
    ),
]  # fmt: skip
PLAIN = {"model.num_heads": None, "model.num_groups": None}
"""Fields that the small configuration sets and other networks than its own do not take."""


@pytest.mark.parametrize(("fields", "parts"), MESSAGES, ids=range(len(MESSAGES)))
def test_messages_through_the_program(fields: dict[str, object], parts: list[str], tmp_path: Any) -> None:
    taken = {} if "adm" in str(fields.get("model.name", "adm")) else PLAIN
    outcome = program(
        "--config", TINY, "--mode", "train", "--workdir", tmp_path,
        **{field.replace(".", "__"): value for field, value in {**taken, **fields}.items()},
    )  # fmt: skip
    said = outcome.error
    for part in parts:
        assert part in said
    for parameter in (
        "channel_mult",
        "norm_groups",
        "attention_resolutions",
        "conv_resample",
        "sigmas",
        "dims=",
    ):
        assert parameter not in said or f"model.adm.{parameter}" in said


def test_a_mask_of_a_file_is_no_task_of_its_own(tmp_path: Any) -> None:
    said = program(
        "--config", TINY, "--mode", "control", "--workdir", tmp_path, control__task="mask_image",
        control__input="test",
    ).error  # fmt: skip
    assert "unknown config.control.task 'mask_image'" in said
    assert "known" not in said.replace("unknown", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mode"], ["Missing value for flag --mode", "--FLAG=VALUE", "--help"]),
        (["sample"], ["unexpected argument 'sample'", "For the mode: --mode sample."]),
        ([], ["--config configs/ddpm/digits.py", "--mode doctor", "--help"]),
        (["--config.seed=" + "9" * 81 + "x"], ["=" + "9" * 80 + "... (82 characters): a whole number"]),
        (["--config.eval.metrics=fid", "--mode=eval", "--config.eval.enable_sampling=False"],
         ["config.eval.metrics is set", "or set eval.enable_sampling=True."]),
    ],
)  # fmt: skip
def test_what_the_fuzzer_found_poor_says_what_to_do(words: list[str], said: list[str]) -> None:
    configuration = [] if not words or words == ["--mode"] else ["--config", str(TINY)]
    error = program(*configuration, *words).error
    for part in said:
        assert part in error
