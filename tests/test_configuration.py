"""Configurations: whose settings they hold, which have an effect, and what earlier programs wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from configs.base import get_config as base
from run_lib.config import plans
from run_lib.config.command_line import configure, parse
from run_lib.config.configuration import Configuration, base_fields, complete, known_fields, read
from run_lib.config.effects import check_effects, unused
from run_lib.config.files import load_config_file
from run_lib.config.parsing import kinds_of, parse_value
from run_lib.config.plans import make_plan
from run_lib.config.reading import unread
from run_lib.config.roles import ROLES, components_of, takers
from run_lib.config.section_files import fields_of_file
from samplers.base import register_predictor
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, Outcome, program, run
from tests.run_lib.tiny import get_config as tiny

FLAT = json.loads((ROOT / "tests/fixtures/flat_config.json").read_text())
"""``config.json`` of the program before settings belonged to components: every field flat, null where unset."""
FLAT_FIELDS = [(section, field) for section, held in FLAT.items() if isinstance(held, dict) for field in held]
PREDICTOR = '''
from dataclasses import dataclass
from typing import Annotated, Literal

from samplers import Predictor, Step, register_predictor
from sde_lib.settings import Range


@register_predictor
@dataclass(frozen=True)
class Damped(Predictor):
    """Part of the way to the predicted data.

    Args:
        damping: share of the way.
        kind: how.
        rho: of a name that others have too.
        places: several numbers.
    """

    damping: Annotated[float, Range(above=0, most=1)] = 0.5
    kind: Literal["plain", "fancy"] = "plain"
    rho: float = 3.0
    places: tuple[int, ...] = ()

    def update_fn(self, model, x, t, s, noise):
        x = x + self.damping * (model(x, t).x0 - x)
        return Step(x, x)
'''


@pytest.fixture
def damped(tmp_path: Path) -> Iterator[Path]:
    """A plugin with a predictor, which no other test is to know."""
    path = tmp_path / "damped.py"
    path.write_text(PREDICTOR)
    yield path
    register_predictor._entries.pop("damped", None)


def given(*arguments: object, config: ConfigDict | None = None) -> Configuration:
    """A file's configuration with what a command line sets."""
    values, fields = configure(base() if config is None else config, parse(["main.py", *map(str, arguments)]))
    return read(values, fields, "sample")


def described(config: Path, tmp_path: Path, **fields: object) -> Outcome:
    return program("--config", config, "--mode", "describe", "--workdir", tmp_path, **fields)


# A plugin's settings -------------------------------------------------------------------------------


def settings_of(configuration: Configuration) -> dict[str, Any]:
    return dict(configuration.choose("predictor").settings)


def test_a_plugins_setting_from_the_command_line(damped: Path) -> None:
    chosen = (f"--config.plugins={damped}", "--config.sampling.predictor=damped")
    flat = given(*chosen, "--config.sampling.damping=0.25", "--config.sampling.places=(1,2)")
    assert settings_of(flat) == {"damping": 0.25, "places": (1, 2)}
    block = given(*chosen, "--config.sampling.damped.damping=0.25", "--config.sampling.damped.kind=fancy")
    assert settings_of(block) == {"damping": 0.25, "kind": "fancy"}
    for configuration in (flat, block):
        check_effects(configuration)
        assert configuration.choose("predictor").build().damping == 0.25


def test_a_plugins_setting_from_a_file(damped: Path) -> None:
    config = base()
    config.plugins, config.sampling.predictor = str(damped), "damped"
    config.sampling.damping = 0.125
    assert settings_of(read(config)) == {"damping": 0.125}
    config.sampling.Damped = ConfigDict({"kind": "fancy"})
    assert settings_of(read(config)) == {"damping": 0.125, "kind": "fancy"}


def test_a_block_goes_before_the_sections_field(damped: Path) -> None:
    """The field may be another component's too: the block is one component's alone, from file or command line."""
    config = base()
    config.plugins, config.sampling.predictor = str(damped), "damped"
    config.sampling.damped = ConfigDict({"damping": 0.75})
    assert settings_of(given("--config.sampling.damping=0.25", config=config)) == {"damping": 0.75}
    karras = given("--config.sampling.rho=5", "--config.sampling.grid=karras",
                   "--config.sampling.damped.rho=2", config=config)  # fmt: skip
    assert settings_of(karras)["rho"] == 2
    assert karras.choose("grid").settings == {"rho": 5}


def test_a_blocks_name_is_written_as_a_components_is() -> None:
    """``Langevin`` and ``langevin`` are one block, in which the command line goes before the file."""
    for in_file, on_line in (("Langevin", "langevin"), ("langevin", "Langevin")):
        config = base()
        config.sampling.corrector = "langevin"
        config.sampling[in_file] = ConfigDict({"snr": 0.3, "norm": "batch"})
        found = given(f"--config.sampling.{on_line}.snr=0.1", config=config)
        check_effects(found)
        assert dict(found.choose("corrector").settings) == {"snr": 0.1, "norm": "batch"}
        assert read(config).given >= {"sampling.langevin.snr", "sampling.langevin.norm"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dampng", "0.1", "unknown config field config.sampling.dampng. Did you mean config.sampling.damping?"),
        ("damped.dampng", "1", "unknown config field config.sampling.damped.dampng. "
         "Did you mean config.sampling.damped.damping?"),
        ("dampd.damping", "1", "unknown config field config.sampling.dampd. Did you mean config.sampling.damped?"),
        ("damping", "much", "--config.sampling.damping=much: a number is expected."),
        ("damping", "1.5", "damped's damping"),
        ("damped.damping", "0", "(config.sampling.damped.damping)"),
        ("kind", "fncy", "Did you mean 'fancy'?"),
        ("places", "3", "--config.sampling.places=3: a tuple such as (1,2) is expected."),
    ],
)  # fmt: skip
def test_a_wrong_setting_of_a_plugins(
    field: str, value: str, message: str, damped: Path, tmp_path: Path
) -> None:
    outcome = program("--config", GAUSSIAN, "--mode", "sample", "--workdir", tmp_path / "run",
                      f"--config.plugins={damped}", "--config.sampling.predictor=damped",
                      f"--config.sampling.{field}={value}")  # fmt: skip
    assert message in outcome.error
    assert not (tmp_path / "run").exists()


def test_settings_out_of_range_in_a_file_are_refused(damped: Path) -> None:
    config = base()
    config.plugins, config.sampling.predictor = str(damped), "damped"
    config.sampling.damping = 1.5
    with pytest.raises(ValueError, match=r"damped's damping .* got 1.5. \(config.sampling.damping\)"):
        read(config).choose("predictor")
    with config.ignore_type():
        config.sampling.damping = "much"
    with pytest.raises(ValueError, match=r"damped's damping must be a number, got 'much'"):
        read(config).choose("predictor")


# Settings without effect ---------------------------------------------------------------------------

WITHOUT_EFFECT = (
    "config.sampling.snr is set, but predictor 'unipc', grid 'log_snr' do not take it; leave it unset"
)


def test_without_effect_on_the_command_line(tmp_path: Path) -> None:
    outcome = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run", sampling__snr=0.1)
    assert outcome.error.startswith(WITHOUT_EFFECT)
    assert "sampling.corrector='langevin'" in outcome.error, "what would take it"
    assert not (tmp_path / "run").exists()


def test_without_effect_in_a_section_file(tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    best.write_text('{"snr": 0.1}')
    outcome = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run", sampling=best)
    assert outcome.error.startswith(WITHOUT_EFFECT)


def test_without_effect_in_python() -> None:
    config = tiny()
    config.sampling.snr = 0.1
    with pytest.raises(ValueError, match=WITHOUT_EFFECT):
        make_plan(config, plans.sampling)


def test_a_block_without_effect() -> None:
    with pytest.raises(ValueError, match=r"config.sampling.langevin.snr is set, but .* do not take it"):
        check_effects(given("--config.sampling.langevin.snr=0.1"))


def test_what_is_equal_to_the_default_is_not_set(tmp_path: Path) -> None:
    """0.16 is the snr of Langevin's own; the field of a section is its default by ``configs/base.py``."""
    check_effects(given("--config.sampling.snr=0.16"))
    check_effects(
        given("--config.sampling.probability_flow=False", "--config.training.likelihood_weighting=False")
    )
    config = tiny()
    config.sampling.snr = 0.16
    assert make_plan(config, plans.sampling)
    outcome = described(TINY, tmp_path, sampling__snr=0.16)
    assert outcome.status == 0


def test_a_file_may_set_what_its_alternatives_need(tmp_path: Path) -> None:
    """``describe`` lists it; what something takes, or is a default, is not in the list."""
    config = tmp_path / "both.py"
    config.write_text(
        "from tests.run_lib.tiny import get_config as tiny\n\n\ndef get_config():\n    config = tiny()\n"
        "    config.sampling.snr = 0.1\n    config.sampling.rho = 7.0\n    config.sampling.corrector = 'none'\n"
        "    return config\n"
    )
    outcome = described(config, tmp_path)
    assert outcome.status == 0, outcome.err
    listed = [line for line in outcome.out.splitlines() if "taken by nothing" in line]
    assert [line.split(": ")[1] for line in listed] == ["sampling.snr"]
    assert "taken by nothing" not in described(config, tmp_path, sampling__corrector="langevin").out
    assert unused(complete(tiny())) == []


@pytest.mark.parametrize(
    ("field", "value", "needs"),
    [
        ("sampling.n_steps_each", 2, "a corrector"),
        ("training.loss_scale", 10.0, "training.precision='float16'"),
        ("model.used_ema_rate", 0.5, "averages to choose from: set model.ema_rates"),
        ("eval.bpd_target", 0.1, "eval.bpd_quick=True"),
        ("eval.end_ckpt", 3, "eval.begin_ckpt"),
        ("tune.pilot_samples", 3, "tune.grid=True"),
        ("init_from_ema", False, "init_from"),
    ],
)
def test_fields_that_another_field_turns_on(field: str, value: object, needs: str) -> None:
    with pytest.raises(ValueError, match=f"config.{field} is set, and has no effect without {needs}"):
        check_effects(given(f"--config.{field}={value}"))


@pytest.mark.parametrize(
    ("switch", "field", "value"),
    [
        ("model.num_head_channels=8", "model.num_heads", 4),
        ("model.num_head_channels=8", "model.num_heads_upsample", 4),
        ("tune.grid=True", "tune.sweep", "snr=0.1,0.2"),
        ("tune.grid=True", "tune.rows", 2),
        ("data.shape=(1,8,8)", "data.image_size", 8),
        ("data.shape=(1,8,8)", "data.num_channels", 1),
        ("training.likelihood_weighting=True", "training.weighting", "uniform"),
        ("eval.checkpoints=(3,)", "eval.begin_ckpt", 1),
        ("eval.dataset=test", "eval.bpd_dataset", "train"),
    ],
)
def test_fields_that_another_field_overrules(switch: str, field: str, value: object) -> None:
    network = "--config.model.name=adm"
    with pytest.raises(ValueError, match=f"config.{field} is set, and has no effect without"):
        check_effects(given(network, f"--config.{switch}", f"--config.{field}={value}"))


def test_what_a_mode_does_not_read_is_listed() -> None:
    """The training loop's and the optimiser's where nothing is trained, the samples' number where none are drawn."""
    found = given("--config.training.n_iters=5", "--config.optim.lr=0.1", "--config.sampling.num_samples=3")
    assert unread(found) == ["optim.lr", "training.n_iters"]
    assert unread(read(base(), found.given, "train")) == ["sampling.num_samples"]
    assert unread(read(base(), found.given, "convert")) == ["sampling.num_samples", "training.n_iters"]
    assert unread(read(base(), found.given, "all")) == []


def test_all_settings_without_effect_are_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"config.sampling.atol is set, .*config.sampling.snr is set, "):
        check_effects(given("--config.sampling.snr=0.1", "--config.sampling.atol=0.1"))


# Which component takes which field -----------------------------------------------------------------


def test_every_setting_has_a_taker_and_every_block_its_component() -> None:
    """A field that is no component's is in ``configs/base.py``, and the other way about."""
    for section in ("model", "training", "optim", "sampling", "guidance", "data", "control", "reconstruct"):
        for field in known_fields()[section] - {path.partition(".")[2] for path in base_fields()}:
            path = f"{section}.{field}"
            assert takers(path) or path in ("training.loss", "training.continuouse", "model.sigma_begin"), (
                path
            )
    assert "snr" in components_of("sampling")["langevin"]
    assert "sampling.corrector='langevin'" in takers("sampling.snr")


def test_every_role_chooses_what_the_defaults_name() -> None:
    """The defaults build: each role is filled by a component of its own choices, or is empty."""
    configuration = read(base())
    for name, role in ROLES.items():
        chosen = configuration.find(name)
        assert chosen is None or chosen.name in role.choices


# Values as they are written ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("sampling.snr", "0.1", 0.1),
        ("sampling.langevin.snr", "1", 1.0),
        ("sampling.seed", "None", None),
        ("sampling.predictor", "None", "None"),
        ("data.image_size", "32", 32),
        ("data.image_size", "(4,8)", (4, 8)),
        ("model.ch_mult", "(1,2)", (1, 2)),
        ("model.ch_mult", "[1,2]", (1, 2)),
        ("model.fir", "yes", True),
        ("device", "cuda:1", "cuda:1"),
        ("training.loss", "vesde", "vesde"),
    ],
)
def test_parsing(path: str, text: str, value: object) -> None:
    found = parse_value(path, text)
    assert found == value
    assert type(found) is type(value)


def test_types_of_fields() -> None:
    assert kinds_of("sampling.num_steps") == (int,)
    assert kinds_of("eval.enable_bpd") == (bool,)
    assert kinds_of("data.image_size") == (int, tuple)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"snrr": 1}', "has no field 'snrr'. Did you mean 'snr'?"),
        ('{"langevin": {"snrr": 1}}', "has no field 'snrr'. Did you mean 'snr'?"),
        ('{"snr": null}', "not null; leave out what is to keep its value"),
        ("[1]", "must hold an object of fields"),
        ("{", "is no JSON"),
    ],
)
def test_wrong_section_files(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config\.sampling") as refused:
        list(fields_of_file("sampling", str(path)))
    assert message in str(refused.value)


def test_a_section_file_has_fields_and_blocks(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    path.write_text('{"snr": 0.1, "Langevin": {"norm": "batch"}, "num_steps": 9}')
    assert dict(fields_of_file("sampling", str(path))) == {
        "sampling.snr": 0.1, "sampling.langevin.norm": "batch", "sampling.num_steps": 9,
    }  # fmt: skip
    found = given(f"--config.sampling={path}", "--config.sampling.corrector=langevin")
    assert dict(found.choose("corrector").settings) == {"snr": 0.1, "norm": "batch"}
    check_effects(found)


# What earlier programs wrote -----------------------------------------------------------------------


def test_every_field_that_there_was_is_known() -> None:
    assert not [
        f"{section}.{field}" for section, field in FLAT_FIELDS if field not in known_fields()[section]
    ]


def test_there_were_282_fields() -> None:
    alone = [field for field, held in FLAT.items() if not isinstance(held, dict)]
    assert len(FLAT_FIELDS) + len(alone) == 282
    assert set(alone) <= base_fields()


def test_a_flat_record_is_a_configuration() -> None:
    """Its values are those of the defaults now, and it asks for nothing that has no effect."""
    theirs = complete(ConfigDict(FLAT))
    ours = complete(base())
    for section, field in FLAT_FIELDS:
        if FLAT[section][field] is not None and (section, field) != (
            "training",
            "max_nonfinite",
        ):  # raised since
            now, found = ours[section][field], theirs[section][field]
            found = tuple(found) if isinstance(found, list) else found  # JSON has no tuples
            # What has become a component's own is unset now, and its default is the component's.
            assert found == now or (now is None and takers(f"{section}.{field}")), f"{section}.{field}"
    assert read(ConfigDict(FLAT)).choose("predictor").name == "euler_maruyama"


@pytest.mark.slow
def test_a_classifier_of_the_flat_form_guides(tmp_path: Path) -> None:
    """A checkpoint that the program before wrote: its configuration has every field, null where unset."""
    own = {
        "training__task": "classifier", "model__name": "adm_encoder", "model__pool": "attention",
        "model__num_classes": 10, "model__num_head_channels": 4, "eval__enable_bpd": False,
    }  # fmt: skip
    run(TINY, "train", tmp_path / "classifier", **own)
    path = tmp_path / "classifier/checkpoints/step_00000006.pt"
    held = torch.load(path, weights_only=True)
    now = json.loads(held["config"])
    flat = {
        section: {field: now[section].get(field) for field in inside}
        if isinstance(inside, dict)
        else now[section]
        for section, inside in FLAT.items()
    }
    flat["training"]["loss"] = flat["training"]["continuouse"] = None
    held["config"] = json.dumps(flat)
    torch.save(held, path)
    guided = {"guidance__name": "classifier", "guidance__classifier": path, "guidance__scale": 2.0}
    run(TINY, "train", tmp_path / "run")
    run(TINY, "sample", tmp_path / "run", **guided)
    assert (tmp_path / "run/samples/samples.npz").exists()


def test_best_json_of_the_program_before(tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    best.write_text('{"snr": 0.1}')
    run(TINY, "train", tmp_path / "run")
    run(TINY, "sample", tmp_path / "run", sampling=best, sampling__corrector="langevin")
    record = json.loads((tmp_path / "run/samples/settings.json").read_text())
    assert record["sampling"]["snr"] == 0.1


@pytest.mark.parametrize(
    "path",
    sorted(p.relative_to(ROOT / "configs").as_posix() for p in (ROOT / "configs").glob("[!sd_]*/[!_]*.py")),
)
def test_every_shipped_field_is_taken_or_listed(path: str) -> None:
    """Shipped configurations name no field that nobody knows, and resolve to themselves."""
    values = complete(load_config_file(path))
    assert complete(values).to_dict() == values.to_dict()
