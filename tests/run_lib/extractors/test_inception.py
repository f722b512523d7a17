"""Our Inception against torch-fidelity's own program, with the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from run_lib.extractors.inception import Inception
from run_lib.extractors.weights import sha256
from tests.run_lib.extractors.fake import COLOUR, CPU, GREY, images, inception_file

OUTPUTS = ("features", "logits", "spatial")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("run_lib.extractors.blocks.ON_CPU", 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inception_file(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def ours(weights: Path) -> Inception:
    return Inception(COLOUR, 256, CPU, weights)


@pytest.fixture(scope="module")
def theirs(weights: Path) -> Any:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3(
        "theirs", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )


@pytest.mark.slow
def test_outputs_are_those_of_torch_fidelity(ours: Inception, theirs: Any) -> None:
    """The map of sFID is TensorFlow's ``mixed_6/conv``, the 1x1 branch of torch-fidelity's ``Mixed_6d`` after its ReLU:
    guided-diffusion takes 7 channels of (N, 17, 17, C) and flattens them."""
    levels, seen = images(COLOUR, 2), {}
    theirs.Mixed_6d.branch1x1.register_forward_hook(lambda module, given, out: seen.update(map=out))
    features, logits = theirs(levels)
    spatial = np.moveaxis(seen["map"].numpy(), 1, -1)[..., :7].reshape(len(levels), -1)
    found = ours(levels, OUTPUTS)
    for name, wanted in zip(OUTPUTS, (features.numpy(), logits.numpy(), spatial), strict=True):
        assert found[name].dtype == np.float32
        assert found[name].shape == wanted.shape == (len(levels), ours.dimensions[name])
        assert np.std(wanted, 0).mean() > 1e-2  # images tell apart, and an error of 1e-5 is seen
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


def test_an_image_has_its_features_whatever_its_batch(ours: Inception) -> None:
    """Bit for bit: alone, and as the second of two."""
    levels = images(COLOUR, 2)
    together, alone = ours(levels, OUTPUTS), ours(levels[1:2], OUTPUTS)
    for name in OUTPUTS:
        np.testing.assert_array_equal(together[name][1:2], alone[name])


def test_grey_images_are_seen_in_three_channels_and_few_levels_in_8_bits(
    weights: Path, ours: Inception
) -> None:
    """17 levels: 16 is white, 255, and 8 is 127.5, which is rounded up."""
    grey = torch.tensor([0, 8, 16, 1]).repeat(100).reshape(1, 1, 20, 20)
    colour = torch.tensor([0, 128, 255, 16]).repeat(100).reshape(1, 1, 20, 20).expand(1, 3, 20, 20)
    found = Inception(GREY, 17, CPU, weights)
    np.testing.assert_array_equal(
        found(grey, ["features"])["features"], ours(colour, ["features"])["features"]
    )
    assert found.protocol["colour"] != ours.protocol["colour"]
    assert found.protocol["range"] != ours.protocol["range"]


@pytest.mark.slow
def test_its_protocol_is_of_weights_and_resize(weights: Path, ours: Inception) -> None:
    """Random weights are never taken for the published ones, by which alone a distance is FID."""
    assert sha256(weights)[:16] in ours.protocol["weights"]
    assert "not the published" in ours.protocol["weights"] and not ours.published
    clean = Inception(COLOUR, 256, CPU, weights, resize="clean")
    assert clean.protocol["resize"] != ours.protocol["resize"]
    assert not np.allclose(*(x(images(COLOUR, 1), ["features"])["features"] for x in (ours, clean)))


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        (torch.zeros(2, 1, 20, 20, dtype=torch.uint8), r"shape \(3, 20, 20\), and got \(1, 20, 20\)"),
        (torch.full((2, 3, 20, 20), 256), "from 256 to 256"),
        (torch.full((2, 3, 20, 20), -1), "from -1 to -1"),
        (torch.zeros(2, 3, 20, 20), "integer levels"),
    ],
)
def test_other_images_are_refused(levels: torch.Tensor, said: str, ours: Inception) -> None:
    with pytest.raises(ValueError, match=said):
        ours(levels, ["features"])


@pytest.mark.parametrize(("shape", "levels"), [((4, 8, 8), 256), ((2,), 256), ((3, 8, 8), 0)])
def test_data_that_are_no_photographs_are_refused(shape: tuple[int, ...], levels: int, weights: Path) -> None:
    with pytest.raises(ValueError, match=r"extractor 'inception' .* take pixels"):
        Inception(shape, levels, CPU, weights)
