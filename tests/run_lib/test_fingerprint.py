"""Fingerprints of weights, arrays and sources."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from run_lib import fingerprint as hashes
from run_lib.config import plans
from run_lib.config.configuration import read
from run_lib.config.files import load_config_file
from run_lib.config.sources import user_files
from run_lib.fingerprint import basis_of_samples, fingerprint, of_arrays, of_files, of_program
from tests.run_lib.planned import planned
from tests.run_lib.tiny import get_config as tiny


def layers() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def test_how_weights_are_stored_does_not_matter() -> None:
    """Another memory format, a wider type, another order of the layers' making: the same weights."""
    network, twin = layers(), layers()
    before = fingerprint(network)
    assert fingerprint(twin) != before
    twin.load_state_dict(network.state_dict())
    assert fingerprint(twin) == before
    assert fingerprint(twin.to(memory_format=torch.channels_last)) == before
    assert not twin[0].weight.is_contiguous(), "the format was changed"
    assert fingerprint(twin.double()) == before
    backwards = torch.nn.ModuleDict({"1": network[1], "0": network[0]})
    assert list(backwards.state_dict()) != list(network.state_dict())
    assert fingerprint(backwards) == before


def test_names_and_buffers_matter() -> None:
    network = layers()
    before = fingerprint(network)
    assert fingerprint(torch.nn.ModuleDict({"0": network[0], "2": network[1]})) != before
    network[1].running_mean[0] += 1
    assert fingerprint(network) != before


def test_weights_of_half_precision() -> None:
    """Types that numpy does not have are read too."""
    network = layers().bfloat16()
    assert fingerprint(network) == fingerprint(network.float())


def test_hash_of_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of values, shape and type: not of how they lie in memory, nor of the chunks that are read."""
    x = torch.arange(24, dtype=torch.int32).reshape(4, 6)
    assert of_arrays(x) == of_arrays(x.T.contiguous().T) != of_arrays(x.reshape(6, 4))
    assert of_arrays(x) not in (of_arrays(x.long()), of_arrays(x, x), of_arrays(x.flip(0)), of_arrays(x[:3]))
    for chunk in (1, 48, 50, 96):
        before = of_arrays(x)
        monkeypatch.setattr(hashes, "CHUNK", chunk)
        assert of_arrays(x) == before
    x[-1, -1] += 1
    assert of_arrays(x) != before
    assert of_arrays(torch.zeros(0, 3)) != of_arrays(torch.zeros(0, 4))
    assert of_arrays(torch.tensor(1.0)) != of_arrays(torch.tensor(2.0))


def test_the_program_is_a_part(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("A = 1")
    (tmp_path / "b.py").write_text("B = 1")
    files = sorted(tmp_path.iterdir())
    before = of_files(files)
    assert of_files(reversed(files)) == before
    (tmp_path / "b.py").write_text("B = 2")
    assert of_files(files) != before
    assert basis_of_samples(planned(tiny(), plans.sampling)).parts["program"] == of_program()


def test_the_source_of_a_plugin_is_all_that_it_imports_of_the_users(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    files = {
        "plugin.py": "import torch\nfrom samplers import Predictor\nimport helper\nfrom mine.a import A\n",
        "helper.py": "def late():\n    import lazy\n",
        "lazy.py": "",
        "mine/__init__.py": "",
        "mine/a.py": "from .b import B as A\n",
        "mine/b.py": "B = 1\n",
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    config = tiny()
    config.plugins = str(tmp_path / "plugin.py")
    found = {path.relative_to(tmp_path.resolve()).as_posix() for path in user_files(read(config))}
    assert found == set(files) - {"unused.py"}
    assert user_files(read(tiny())) == set()


OWN = '''
from dataclasses import dataclass

from configs.shared.digits import digits
from samplers import Predictor, register_predictor


@register_predictor(name="of_a_file")
@dataclass(frozen=True)
class OfAFile(Predictor):
    """Nothing."""

    def update_fn(self, model, x, t, s, noise):
        raise NotImplementedError


def get_config():
    config = digits(steps=6)
    config.sampling.predictor = "of_a_file"
    return config
'''


def test_a_configuration_with_components_of_its_own_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    assert user_files(read(load_config_file(str(path)))) == {path.resolve()}
