"""Pixels, principal components and modules of a user's, against the formulas that they are."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from run_lib.config.plugins import load_plugins
from run_lib.data.rows import InMemory
from run_lib.extractors import builtin, plain
from run_lib.extractors.base import register_extractor
from run_lib.extractors.module import register_module
from run_lib.extractors.plain import Pixels, PrincipalComponents
from run_lib.fingerprint import of_files
from sde_lib.finite import NotFiniteError
from tests.run_lib.extractors.fake import COLOUR, CPU, GREY, images
from tests.run_lib.program import ROOT

SHAPE = (1, 4, 5)


@register_module(name="halves")
class Halves(nn.Module):
    """Means of the upper and the lower half, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([half.mean((1, 2, 3)) for half in x.chunk(2, 2)], 1) * self.weight


@register_module(name="crooked")
class Crooked(nn.Module):
    """Forgets the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((0, 2, 3))


def features(extractor: Any, samples: Tensor) -> np.ndarray:
    found: np.ndarray = extractor(samples, ["features"])["features"]
    assert found.dtype == np.float32 and found.shape == (len(samples), extractor.dimensions["features"])
    return found


def test_ours_are_registered() -> None:
    assert set(builtin.__all__) <= {module.__name__.rpartition(".")[2] for module in vars(builtin).values()
                                    if hasattr(module, "__path__") or hasattr(module, "__file__")}  # fmt: skip
    assert {"pixels", "pca", "classifier", "inception", "dinov2", "clip"} <= set(register_extractor)


def test_pixels_are_levels_in_the_order_of_the_array() -> None:
    levels = images(SHAPE, 9)
    found = features(Pixels(SHAPE, 256), levels)
    np.testing.assert_array_equal(found, levels.reshape(9, 20).numpy())
    points = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(features(Pixels((2,), 0), points), points.numpy())


def test_components_are_those_of_the_covariance() -> None:
    """Their signs are free; the largest eigenvalues of the covariance are their variances on the reference."""
    levels = images(SHAPE, 300)
    levels[:, :, 0] = levels[:, :, 1]  # correlated
    ours = PrincipalComponents(SHAPE, 256, InMemory(levels), components=3)
    rows = levels.reshape(300, 20).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
    wanted = (rows - rows.mean(0)) @ vectors[:, ::-1][:, :3]
    found = features(ours, levels)
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found.var(0, ddof=1), values[::-1][:3], rtol=1e-3)


def test_components_are_no_more_than_samples_or_values() -> None:
    assert PrincipalComponents(SHAPE, 256, InMemory(images(SHAPE, 6))).dimensions == {"features": 6}
    assert PrincipalComponents((1, 2, 2), 256, InMemory(images((1, 2, 2), 60))).dimensions == {"features": 4}


def test_components_of_a_large_set_are_fitted_to_samples_all_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 samples the first 20 are black and the others white: fitted to the first 10, nothing would vary."""
    monkeypatch.setattr(plain, "FITTED", 10)
    levels = torch.zeros(40, *SHAPE, dtype=torch.uint8)
    levels[20:] = 255
    ours = PrincipalComponents(SHAPE, 256, InMemory(levels), components=1)
    assert abs(features(ours, levels[[0, 39]])).tolist() == pytest.approx(np.full((2, 1), 255 * 20**0.5 / 2))
    assert "1 components of 10 reference images" in ours.protocol["weights"]


def test_components_of_large_images_are_fitted_to_what_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 samples as many as 12 of them take in float64; a few at least, however large they are."""
    monkeypatch.setattr(plain, "FITTED_BYTES", 12 * 8 * math.prod(SHAPE))
    monkeypatch.setattr(plain, "LEAST_FITTED", 5)
    some = InMemory(images(SHAPE, 40))
    assert "of 12 reference images" in PrincipalComponents(SHAPE, 256, some).protocol["weights"]
    monkeypatch.setattr(plain, "FITTED_BYTES", 0)
    assert "of 5 reference images" in PrincipalComponents(SHAPE, 256, some).protocol["weights"]


def test_components_of_another_reference_have_another_protocol() -> None:
    one, other = (PrincipalComponents(SHAPE, 256, InMemory(images(SHAPE, n))) for n in (30, 31))
    assert one.protocol["weights"] != other.protocol["weights"]
    with pytest.raises(ValueError, match="fitted to the images of a reference set"):
        PrincipalComponents(SHAPE, 256, None)


@pytest.mark.parametrize("name", ["pixels", "pca", "halves"])
def test_an_image_has_its_features_whatever_its_batch(name: str) -> None:
    """Bit for bit: alone, and as the tenth of eleven."""
    reference = InMemory(images(COLOUR, 40))
    context = {"pixels": (), "pca": (reference,), "halves": (CPU, None)}[name]
    ours = register_extractor[name](COLOUR, 256, *context)
    levels = images(COLOUR, 11)
    np.testing.assert_array_equal(features(ours, levels)[9:10], features(ours, levels[9:10]))


def test_a_module_of_a_users_sees_samples_in_the_unit_interval(tmp_path: Path) -> None:
    ours = register_extractor["halves"](GREY, 256, CPU, None)
    levels = torch.zeros(3, *GREY, dtype=torch.uint8)
    levels[1, :, :10], levels[2] = 255, 51
    np.testing.assert_allclose(features(ours, levels), [[0, 0], [1, 0], [0.2, 0.4]], atol=1e-6)
    assert ours.title == "halves"
    save_file({"weight": torch.tensor([3.0, 4.0])}, tmp_path / "mine.safetensors")
    other = register_extractor["halves"](GREY, 256, CPU, tmp_path / "mine.safetensors")
    np.testing.assert_allclose(features(other, levels), [[0, 0], [3, 0], [0.6, 0.8]], atol=1e-6)
    assert ours.protocol["weights"] != other.protocol["weights"]
    (tmp_path / "mine.safetensors").rename(
        tmp_path / "halves.safetensors"
    )  # by its name, in a folder of several
    assert register_extractor["halves"](GREY, 256, CPU, tmp_path).protocol == other.protocol
    (tmp_path / "none").mkdir()
    assert register_extractor["halves"](GREY, 256, CPU, tmp_path / "none").protocol == ours.protocol
    save_file({"bias": torch.zeros(2)}, tmp_path / "mine.safetensors")
    with pytest.raises(
        ValueError, match="lacks 1 tensor, first weight, has beside them 1 tensor, first bias"
    ):
        register_extractor["halves"](GREY, 256, CPU, tmp_path / "mine.safetensors")


def test_features_that_are_not_finite_are_no_features(tmp_path: Path) -> None:
    save_file({"weight": torch.tensor([3.0, float("inf")])}, tmp_path / "mine.safetensors")
    with pytest.raises(NotFiniteError, match="the features of an image are not finite"):
        register_extractor["halves"](GREY, 256, CPU, tmp_path / "mine.safetensors")


def test_a_module_that_gives_no_features_is_refused() -> None:
    with pytest.raises(ValueError, match=r"extractor 'crooked' must give a tensor of features, \(B, D\)"):
        register_extractor["crooked"](GREY, 256, CPU, None)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (torch.zeros(2, 1, 5, 5, dtype=torch.uint8), r"shape \(1, 4, 5\), and got \(1, 5, 5\)"),
        (torch.full((2, *SHAPE), 17), "from 0 to 16, and got values from 17 to 17"),
        (torch.zeros(2, *SHAPE), "integer levels from 0 to 16, and got torch.float32"),
        (torch.zeros(0, *SHAPE, dtype=torch.uint8), "there are no images"),
    ],
)
def test_other_samples_are_refused(samples: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pixels(SHAPE, 17)(samples, ["features"])


def test_samples_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Pixels((2,), 0)(torch.tensor([[0.0, float("nan")]]), ["features"])


def test_an_output_that_it_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="gives features, and no logits"):
        Pixels(SHAPE, 256)(images(SHAPE), ["logits"])


def test_the_module_of_the_documentation(tmp_path: Path) -> None:
    """As a plugin. Its protocol has the hash of its source, so that other code has another."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs/extractors.md").read_text(), re.S)
    assert block is not None
    (tmp_path / "colours.py").write_text(block[1])
    load_plugins(str(tmp_path / "colours.py"))
    ours = register_extractor["colours"](COLOUR, 256, CPU, None)
    levels = images(COLOUR)
    unit = levels.double() / 255
    wanted = torch.cat([unit.mean((2, 3)), unit.std((2, 3))], 1)
    np.testing.assert_allclose(features(ours, levels), wanted.numpy(), rtol=1e-5)
    assert f"source {of_files([tmp_path / 'colours.py'])}" in ours.protocol["network"]
