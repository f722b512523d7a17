"""``--mode convert --config.convert.to=config``: the configuration of a file, which then loads the file's weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from configs.base import get_config as default
from models.checkpoints.loader import load_weights
from models.checkpoints.ours import save_weights
from run_lib.config import plans
from run_lib.config.converting import WrittenPlan
from run_lib.config.described import fields_of
from run_lib.convert import write_configuration
from run_lib.files import as_json
from run_lib.run import Run
from tests.fixtures.nvlabs_files import of_fixture
from tests.fixtures.weights import Fixture
from tests.models.checkpoint_families import EXAMPLES
from tests.models.test_dit import export_of, published
from tests.run_lib.planned import planned, subject, with_fields
from tests.run_lib.test_convert import tiny

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def written(source: Path, folder: Path, **fields: Any) -> Path:
    config = with_fields(default(), fields)
    config.init_from, config.convert.to, config.convert.path = str(source), "config", str(folder / "my.py")
    plan = planned(config, plans.conversion)
    assert isinstance(plan, WrittenPlan)
    write_configuration(plan, Run(folder / "run"))
    return folder / "my.py"


def of_file(path: Path) -> ConfigDict:
    spec = importlib.util.spec_from_file_location("my", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: ConfigDict = module.get_config()
    return found


SNAPSHOTS = ("edm/ddpmpp_vp", "edm/ncsnpp_ve", "edm/adm_iddpm", "edm2/small")


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_of_a_snapshot_of_nvlabs(name: str, tmp_path: Path) -> None:
    """The network that the written file makes takes every weight of the snapshot, and refuses no setting."""
    source = of_fixture(Fixture(f"{name}.npz"), tmp_path / "network-snapshot.pkl")
    path = written(source, tmp_path)
    config = of_file(path)
    network = subject(config).network
    assert load_weights(network, source).used > 10
    assert config.training.sde == "edm"
    assert "# What the file does not tell:\n# - The data set" in path.read_text()


def test_of_a_published_dit(tmp_path: Path) -> None:
    """By its shapes; 1001 rows are 1000 classes and the label for none."""
    weights = {
        n: torch.zeros(w.shape, dtype=torch.float16) for n, w in export_of(published((384, 12, 6), 8)).items()
    }
    torch.save(weights | {"pos_embed": torch.zeros(1, 16, 384)}, tmp_path / "DiT.pt")
    path = written(tmp_path / "DiT.pt", tmp_path)
    config = of_file(path)
    found = {name: config.model[name] for name in ("name", "patch_size", "num_classes", "variance")}
    assert found == {
        "name": "dit",
        "patch_size": 8,
        "num_classes": 1000,
        "variance": "learned_range",
    }
    assert config.training.label_dropout == 0.1
    network = subject(config, weights=False).network
    shapes = {name: p.shape for name, p in network.named_parameters()}
    assert shapes == {name: p.shape for name, p in published((384, 12, 6), 8).named_parameters()}
    assert "# - The number of heads: 6" in path.read_text()


def test_of_a_folder_of_diffusers(tmp_path: Path) -> None:
    example = EXAMPLES["diffusers"]()
    source = example.write(tmp_path / "folder")
    network = subject(of_file(written(source, tmp_path))).network
    assert load_weights(network, source).family == "diffusers"


def test_of_guided_diffusion(tmp_path: Path) -> None:
    """Shapes tell the network, the command line the size of the images; what leaves no trace is in a comment."""
    fixture = Fixture("guided_diffusion/unet_adm.npz")
    torch.save(fixture.weights, tmp_path / "ema_0.9999_500000.pt")
    path = written(tmp_path / "ema_0.9999_500000.pt", tmp_path, data__image_size=16)
    config = of_file(path)
    assert (config.data.image_size, tuple(config.model.attn_resolutions)) == (16, (8,))
    assert (config.training.sde, config.model.variance, config.model.num_classes) == (
        "ddpm", "learned_range", 10,
    )  # fmt: skip
    assert load_weights(subject(config).network, tmp_path / "ema_0.9999_500000.pt").used == len(
        fixture.weights
    )
    assert "# - The heads of the attention: model.num_head_channels=64, as published." in path.read_text()


def test_of_a_file_of_ours_it_is_the_configuration_that_it_holds(tmp_path: Path) -> None:
    made = subject(tiny("adm", "ddpm", continuous=False, num_groups=8))
    path = tmp_path / "ours.safetensors"
    save_weights(made.network, {}, path, config=as_json(dict(made.record.values)), step=1)
    held = of_file(written(path, tmp_path))
    assert {name: held.model[name] for name in ("name", "nf", "ch_mult", "num_groups")} == {
        "name": "adm", "nf": 32, "ch_mult": (1, 1), "num_groups": 8,
    }  # fmt: skip
    assert held.training.sde == "ddpm"
    assert load_weights(subject(held).network, path).family == "ours"


@pytest.mark.parametrize(
    ("family", "message"),
    [("ncsn", "do not tell the architecture"), ("score_sde", "your own file of score_sde runs as it is")],
)
def test_files_that_do_not_tell_are_refused(family: str, message: str, tmp_path: Path) -> None:
    source = EXAMPLES[family]().write(tmp_path / "file")
    with pytest.raises(ValueError, match=message):
        fields_of(str(source), (32, 32))


def test_what_is_lacking_is_asked_for(tmp_path: Path) -> None:
    config = default()
    config.convert.to = "config"
    with pytest.raises(ValueError, match=r"name it, --config\.init_from=FILE"):
        planned(config, plans.conversion)
    (tmp_path / "my.py").write_text("mine")
    with pytest.raises(ValueError, match="exists already, and nothing is overwritten"):
        written(of_fixture(Fixture("edm2/small.npz"), tmp_path / "a.pkl"), tmp_path)


def test_a_name_of_a_file_cannot_write_code(tmp_path: Path) -> None:
    odd = tmp_path / 'a"""\nRAN = 1\n\\.pkl'
    of_fixture(Fixture("edm2/small.npz"), tmp_path / "a.pkl").rename(odd)
    text = written(odd, tmp_path).read_text()
    assert "\nRAN" not in text
    values: dict[str, Any] = {}
    exec(compile(text, "my.py", "exec"), values)
    assert "RAN" not in values
