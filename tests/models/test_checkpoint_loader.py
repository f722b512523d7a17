"""The loader: what goes in, what is refused and in which words, and that nothing is executed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoints.loader import load_weights
from models.networks.ddpm import DDPM
from tests.fixtures.score_sde_files import network_of, payload_of, save
from tests.fixtures.weights import Fixture

FIRST = "all_modules.0.weight"


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return Fixture("score_sde/ddpm.npz")


def first_weight(network: torch.nn.Module) -> torch.Tensor:
    """Ours of the ancestor's ``all_modules.0.weight``."""
    return network.get_parameter("time_embedding.dense_in.weight")


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_averaged_weights_by_default_raw_on_request(fixture: Fixture, prefix: str, tmp_path: Path) -> None:
    """The file's averages are the fixture's weights, its raw ones those plus one; DataParallel or not."""
    path = save(payload_of(fixture, prefix=prefix), tmp_path)
    network = network_of(fixture)
    load_weights(network, path)
    assert torch.equal(first_weight(network), fixture.weights[FIRST])
    load_weights(network, path, ema=False)
    assert torch.equal(first_weight(network), fixture.weights[FIRST] + 1)


def test_reports_what_it_used_and_what_it_left(fixture: Fixture, tmp_path: Path) -> None:
    """All 134 parameters of the fixture are used; everything else in the file has a reason."""
    path = save(payload_of(fixture), tmp_path)
    loaded = load_weights(network_of(fixture), path)
    assert (loaded.family, loaded.step, loaded.used, loaded.path) == ("score_sde", 7, 134, str(path))
    assert [entry.split(":")[0] for entry in loaded.ignored] == ["model", "model.sigmas", "optimizer", "step"]
    loaded = load_weights(network_of(fixture), path, ema=False)
    assert loaded.ignored[0] == "ema: averaged weights, the raw ones are used"


def broken(change: Callable[[dict[str, Any]], object]) -> Callable[[Fixture], dict[str, Any]]:
    def build(fixture: Fixture) -> dict[str, Any]:
        payload = payload_of(fixture)
        change(payload)
        return payload

    return build


MISFITS = {
    "a key is missing": (
        broken(lambda p: p["model"].pop(f"module.{FIRST}")),
        {"ema": False},
        rf"1 missing in the file: {FIRST}",
    ),
    "a key too many": (
        broken(lambda p: p["model"].update({"module.all_modules.99.weight": torch.zeros(1)})),
        {"ema": False},
        r"1 not in the network: all_modules\.99\.weight",
    ),
    "another shape": (
        broken(lambda p: p["model"].update({f"module.{FIRST}": torch.zeros(128, 16)})),
        {"ema": False},
        rf"1 of another shape: {FIRST} is \(128, 16\) in the file and \(128, 32\) here",
    ),
    "an average too few": (
        broken(lambda p: p["ema"]["shadow_params"].pop()),
        {},
        r"lists 133 averaged weights for 134 trainable",
    ),
    "averages out of order": (
        broken(lambda p: p["ema"]["shadow_params"].reverse()),
        {},
        r"out of order: all_modules\.0\.weight is \(128, 32\), the average in its place \(3,\)",
    ),
    "no averages": (broken(lambda p: p.pop("ema")), {}, r"no averaged weights .*ema=False"),
    "of no family": (
        lambda fixture: {"conv1.weight": torch.zeros(1)},
        {},
        r"of no known family \(tried .*score_sde.*first names: conv1\.weight",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_file_that_does_not_fit_changes_nothing(case: str, fixture: Fixture, tmp_path: Path) -> None:
    """The error names file, family and the first differing keys, and no weight has moved."""
    build, options, message = MISFITS[case]
    network = network_of(fixture)
    before = {name: p.clone() for name, p in network.named_parameters()}
    path = save(build(fixture), tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        load_weights(network, path, **options)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    if "missing" in message or "shape" in message:
        assert str(path) in str(error.value)
        assert "'score_sde'" in str(error.value)


def test_another_architecture(fixture: Fixture, tmp_path: Path) -> None:
    """The fixture has two levels with attention at 8; a network without that attention lists the keys."""
    path = save(payload_of(fixture), tmp_path)
    network = network_of(fixture, attention_resolutions=())
    with pytest.raises(
        ValueError, match=r"does not fit the network 'ddpm'.*not in the network: all_modules\."
    ):
        load_weights(network, path)


def test_a_network_the_family_does_not_have(fixture: Fixture, tmp_path: Path) -> None:
    path = save(payload_of(fixture), tmp_path)
    with pytest.raises(ValueError, match="has neither classes nor"):
        load_weights(network_of(fixture, num_classes=10), path)


def test_other_noise_levels(tmp_path: Path, fixture: Fixture) -> None:
    """A network that divides by sigma must divide by the file's: 50 to 0.01 there, 5 to 0.01 here."""
    network = network_of(fixture, scale_by_sigma=True, sigmas=torch.logspace(0.69897, -2, 1000))
    with pytest.raises(
        ValueError, match=r"noise levels are 1000 from 50 to 0\.01, the network's 1000 from 5 to"
    ):
        load_weights(network, save(payload_of(fixture), tmp_path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_noise_levels_in_half_precision(dtype: torch.dtype, tmp_path: Path, fixture: Fixture) -> None:
    """A file's table, rounded to 11 or 8 bits, is the network's; one of levels 2 % apart is none."""
    payload = payload_of(fixture)
    table = payload["model"]["module.sigmas"].float()
    payload["model"]["module.sigmas"] = table.to(dtype)
    path = save(payload, tmp_path)
    load_weights(network_of(fixture, scale_by_sigma=True, sigmas=table), path)
    with pytest.raises(ValueError, match="noise levels are 1000 from"):
        load_weights(network_of(fixture, scale_by_sigma=True, sigmas=1.02 * table), path)


def test_missing_file_and_folder(tmp_path: Path, fixture: Fixture) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.pth does not exist"):
        load_weights(network_of(fixture), tmp_path / "nowhere.pth")
    with pytest.raises(ValueError, match="is a folder"):
        load_weights(network_of(fixture), tmp_path)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_truncated_file(kept: float, tmp_path: Path, fixture: Fixture) -> None:
    """Cut anywhere, the file is reported as cut, with its size."""
    path = save(payload_of(fixture), tmp_path)
    data = path.read_bytes()
    size = int(kept if kept > 1 else kept * len(data))
    path.write_bytes(data[:size])
    with pytest.raises(ValueError, match=rf"\({size} bytes\) cannot be read: truncated"):
        load_weights(network_of(fixture), path)


def test_truncated_safetensors(tmp_path: Path, fixture: Fixture) -> None:
    path = tmp_path / "model.safetensors"
    save_file(fixture.weights, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="cannot be read: truncated, or not safetensors"):
        load_weights(network_of(fixture), path)


class Malice:
    """Unpickled, it would make a file: what an attacker's would do with a shell."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_malicious_pickle_is_refused_and_not_executed(
    legacy: bool, tmp_path: Path, fixture: Fixture
) -> None:
    target = tmp_path / "executed"
    path = tmp_path / "checkpoint_8.pth"
    payload = payload_of(fixture) | {"step": Malice(target)}
    torch.save(payload, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        ValueError, match=r"refused: it needs arbitrary unpickling.*Nothing .* executed.*mkdir"
    ):
        load_weights(network_of(fixture), path)
    assert not target.exists()


def test_a_class_of_our_own_is_no_exception(tmp_path: Path) -> None:
    """A whole pickled module, as torch.save(model) writes, is refused too."""
    network = DDPM(channels=32, channel_mult=(1,), num_res_blocks=1, image_size=8)
    with pytest.raises(ValueError, match=r"arbitrary unpickling.*DDPM"):
        load_weights(network, save(network, tmp_path))
