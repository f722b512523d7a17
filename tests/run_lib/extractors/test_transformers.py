"""DINOv2 and CLIP against the transformers library's own loading and preprocessing, with small random networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from run_lib.extractors.clip import CLIP
from run_lib.extractors.clip import MEAN as CLIP_MEAN
from run_lib.extractors.clip import STD as CLIP_STD
from run_lib.extractors.dinov2 import MEAN, STD, DINOv2, positions
from tests.run_lib.extractors.fake import COLOUR, CPU, images, transformers_folder

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}
TALL = (3, 21, 16)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, image_size=224))
    return transformers_folder(tmp_path_factory.mktemp("weights") / "dinov2-large", network)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vision = {**SMALL, "intermediate_size": 32, "image_size": 28}
    texts = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
             "vocab_size": 9, "bos_token_id": 0, "eos_token_id": 1, "max_position_embeddings": 4}  # fmt: skip
    config = transformers.CLIPConfig(text_config=texts, vision_config=vision, projection_dim=12)
    return transformers_folder(tmp_path_factory.mktemp("weights"), transformers.CLIPModel(config))


def resized(levels: Tensor, size: int, mean: Any, std: Any, crop: Any = None) -> Tensor:
    """Pillow's bicubic of each image, as its colours less the mean over the standard deviation."""
    pictures = [Image.fromarray(one.permute(1, 2, 0).numpy()).crop(crop) for one in levels]
    arrays = np.stack([np.asarray(one.resize((size, size), Image.Resampling.BICUBIC)) for one in pictures])
    return torch.from_numpy((arrays / 255.0 - np.array(mean)) / np.array(std)).permute(0, 3, 1, 2).float()


def test_dinov2_is_the_class_token_of_images_at_224(dinov2: Path) -> None:
    network = transformers.Dinov2Model.from_pretrained(dinov2).eval()
    levels = images(TALL)
    with torch.no_grad():
        wanted = network(resized(levels, 224, MEAN, STD)).last_hidden_state[:, 0]
    ours = DINOv2(TALL, 256, CPU, dinov2)
    found = ours(levels, ["features"])["features"]
    assert found.shape == (3, 16) == (3, ours.dimensions["features"])
    assert wanted.std(0).mean() > 1e-2
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_positions_are_resized_with_the_offset_of_the_makers_code() -> None:
    """Row i of 16 lies at (i + 1/2) / s - 1/2 with s = 16.1 / 37; a cubic of a = -3/4 weighs the four rows about it.
    Without the offset it would be s = 16 / 37, which is 0.2 rows off at the end."""
    values = torch.randn(37, 37, 2, generator=torch.Generator().manual_seed(0))
    found = positions(torch.cat([torch.full((1, 1, 2), 7.0), values.reshape(1, 37 * 37, 2)], 1), 16)
    assert found.shape == (1, 257, 2)
    assert (found[:, 0] == 7).all()
    at = (torch.arange(16.0)[:, None] + 0.5) * 37 / 16.1 - 0.5
    d = (at - torch.arange(37.0)).abs()
    near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
    weights = torch.where(d < 1, near, far * (d < 2))
    wanted = torch.einsum("ia,jb,abc->ijc", weights, weights, values)
    inner = slice(1, 15)  # the border is repeated there
    torch.testing.assert_close(
        found[0, 1:].reshape(16, 16, 2)[inner, inner], wanted[inner, inner], rtol=0, atol=1e-4
    )


def test_clip_is_the_embedding_of_length_one_of_the_central_square(clip: Path) -> None:
    network = transformers.CLIPModel.from_pretrained(clip).eval()
    levels = images(TALL)
    with torch.no_grad():
        seen = network.vision_model(pixel_values=resized(levels, 28, CLIP_MEAN, CLIP_STD, (0, 2, 16, 18)))
        wanted = network.visual_projection(seen.pooler_output)
        wanted = wanted / wanted.norm(dim=1, keepdim=True)
    ours = CLIP(TALL, 256, CPU, clip)
    found = ours(levels, ["features"])["features"]
    assert found.shape == (3, 12) == (3, ours.dimensions["features"])
    assert wanted.std(0).mean() > 1e-2
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [DINOv2, CLIP])
def test_an_image_has_its_features_whatever_its_batch(kind: Any, dinov2: Path, clip: Path) -> None:
    ours = kind(COLOUR, 256, CPU, dinov2 if kind is DINOv2 else clip)
    levels = images(COLOUR, 11)
    together, alone = (ours(some, ["features"])["features"] for some in (levels, levels[9:10]))
    np.testing.assert_array_equal(together[9:10], alone)


@pytest.mark.parametrize(("kind", "module"), [(DINOv2, "dinov2"), (CLIP, "clip")])
def test_papers_names_are_of_the_published_network(
    kind: Any, module: str, dinov2: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another architecture is not it; were these the published sizes, Pillow's filter would be, and no other."""
    path = dinov2 if kind is DINOv2 else clip
    assert not kind(COLOUR, 256, CPU, path).published
    monkeypatch.setattr(f"run_lib.extractors.{module}.LARGE", SMALL)
    assert kind(COLOUR, 256, CPU, path).published
    assert not kind(COLOUR, 256, CPU, path, "clean").published


@pytest.mark.parametrize("resize", ["clean", "torch"])
def test_the_protocol_names_the_filter(resize: Any, dinov2: Path) -> None:
    one, other = DINOv2(COLOUR, 256, CPU, dinov2), DINOv2(COLOUR, 256, CPU, dinov2, resize)
    assert one.protocol["resize"] != other.protocol["resize"]
    assert not np.array_equal(*(x(images(COLOUR), ["features"])["features"] for x in (one, other)))


def test_a_file_and_a_folder_of_folders_are_the_same_weights(dinov2: Path, tmp_path: Path) -> None:
    """``pytorch_model.bin`` too, as the hub has it of older models; its hash is another."""
    torch.save(load_file(dinov2 / "model.safetensors"), tmp_path / "pytorch_model.bin")
    shutil.copy(dinov2 / "config.json", tmp_path)
    places = (dinov2, dinov2 / "model.safetensors", dinov2.parent, tmp_path)
    found = [DINOv2(COLOUR, 256, CPU, place) for place in places]
    features = [one(images(COLOUR), ["features"])["features"] for one in found]
    assert all(np.array_equal(features[0], other) for other in features)
    words = [one.protocol["weights"] for one in found]
    assert words[0] == words[1] == words[2] != words[3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: held.pop("layernorm.bias"), "lacks 1 tensor, first layernorm.bias"),
        (lambda held: held.update(more=torch.zeros(1)), "has beside them 1 tensor, first more"),
        (
            lambda held: held.update({"layernorm.bias": torch.zeros(3)}),
            "in other shapes 1 tensor, first layernorm",
        ),
    ],
)
def test_tensors_of_another_network_are_refused(change: Any, said: str, dinov2: Path, tmp_path: Path) -> None:
    held = load_file(dinov2 / "model.safetensors")
    change(held)
    save_file(held, tmp_path / "model.safetensors")
    shutil.copy(dinov2 / "config.json", tmp_path)
    with pytest.raises(ValueError, match=rf"has no weights of DINOv2 .*{said}"):
        DINOv2(COLOUR, 256, CPU, tmp_path)


def test_a_configuration_of_another_network_is_refused(dinov2: Path, tmp_path: Path) -> None:
    shutil.copy(dinov2 / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ValueError, match=r"config\.json describes no DINOv2"):
        DINOv2(COLOUR, 256, CPU, tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        DINOv2(COLOUR, 256, CPU, tmp_path)
