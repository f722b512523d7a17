"""Autoencoders of diffusers as codecs: from folders, with random weights, to diffusers' own values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from run_lib.data.autoencoders import WEIGHTS, autoencoder_dc, autoencoder_kl
from run_lib.data.codecs import Codec
from samplers.operators import Mask, Through, check_adjoint
from tests.run_lib.program import TINY, program, run

KL: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4, "sample_size": 8, "in_channels": 1,
    "out_channels": 1, "scaling_factor": 0.5, "shift_factor": 0.25,
}  # fmt: skip
DC: dict[str, Any] = {
    "in_channels": 1, "latent_channels": 4, "attention_head_dim": 4, "encoder_block_types": "ResBlock",
    "decoder_block_types": "ResBlock", "encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8),
    "encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1, 1), "scaling_factor": 0.4,
    "encoder_qkv_multiscales": ((), ()), "decoder_qkv_multiscales": ((), ()),
    "encoder_out_shortcut": True, "decoder_in_shortcut": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``kl`` and ``dc``, as ``save_pretrained`` writes them."""
    import diffusers

    folder = tmp_path_factory.mktemp("autoencoders")
    torch.manual_seed(0)
    diffusers.AutoencoderKL(**KL).save_pretrained(folder / "kl")
    diffusers.AutoencoderDC(**DC).save_pretrained(folder / "dc")
    return folder


def x_and_z() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 1, 8, 8, generator=generator), torch.randn(3, 4, 4, 4, generator=generator)


def test_kl_has_diffusers_values(folders: Path) -> None:
    """The mean of the distribution, and the published factors: (z - shift) times scale is what a network sees."""
    import diffusers

    theirs, ours = (
        diffusers.AutoencoderKL.from_pretrained(folders / "kl").eval(),
        autoencoder_kl(str(folders / "kl")),
    )
    x, z = x_and_z()
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs.encode(x).latent_dist.mean, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.decode(z), theirs.decode(z).sample, rtol=0, atol=1e-6)
    assert (ours.mean, ours.std) == ((0.25,), (2.0,))
    assert ours.image_shape((4, 4, 3)) == (1, 8, 6)


def test_dc_has_diffusers_values(folders: Path) -> None:
    import diffusers

    theirs, ours = (
        diffusers.AutoencoderDC.from_pretrained(folders / "dc").eval(),
        autoencoder_dc(str(folders / "dc")),
    )
    x, z = x_and_z()
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs.encode(x).latent, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.decode(z), theirs.decode(z).sample, rtol=0, atol=1e-6)
    assert (ours.mean, ours.std) == ((0.0,), (2.5,))
    assert ours.image_shape((4, 4, 3)) == (1, 8, 6)


def test_a_pipelines_folder_and_old_names_load(folders: Path, tmp_path: Path) -> None:
    """Of before diffusers 0.13: other names of attention's layers, convolutions of one pixel."""
    from safetensors.torch import load_file, save_file

    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    shutil.copytree(folders / "kl", tmp_path / "vae")
    held = {}
    for name, weight in load_file(tmp_path / "vae" / WEIGHTS).items():
        layer, _, kind = name.rpartition(".")
        for new, was in old.items():
            if layer.endswith(f".{new}"):
                layer, weight = (
                    layer.removesuffix(new) + was,
                    weight[:, :, None, None] if kind == "weight" else weight,
                )
        held[f"{layer}.{kind}"] = weight.contiguous()
    assert any(".query." in name for name in held)
    save_file(held, tmp_path / "vae" / WEIGHTS)
    x, _ = x_and_z()
    ours, expected = autoencoder_kl(str(tmp_path)), autoencoder_kl(str(folders / "kl"))
    torch.testing.assert_close(ours.encode(x), expected.encode(x), rtol=0, atol=0)
    assert ours.fingerprint != expected.fingerprint, "it is another file"


@pytest.mark.parametrize("kind", ["kl", "dc"])
def test_measurements_go_through_the_decoder(kind: str, folders: Path) -> None:
    """Its derivative along a direction is that of differences, and what is passed back its adjoint."""
    codec = {"kl": autoencoder_kl, "dc": autoencoder_dc}[kind](str(folders / kind))
    codec.network.double()
    z, generator = x_and_z()[1].double()[:2], torch.Generator().manual_seed(3)
    near = Through(Mask(torch.ones(1, 1, 1, dtype=torch.bool)), codec.decode).at(z)
    v = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    # A longer way crosses kinks of the second's ReLU; on a shorter one its norms, of float32, leave too few digits.
    difference = (codec.decode(z + 3e-5 * v) - codec.decode(z - 3e-5 * v)) / 6e-5
    along = near.operator.apply(v)
    assert float((along - difference).norm() / difference.norm()) < 5e-3
    check_adjoint(near.operator, z.shape, tolerance=1e-5)


def test_a_fingerprint_is_of_the_content(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "kl", tmp_path / "moved")
    assert (
        autoencoder_kl(str(tmp_path / "moved")).fingerprint == autoencoder_kl(str(folders / "kl")).fingerprint
    )


def _other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"block_out_channels": [8, 12]}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "is no folder of an autoencoder of diffusers"),
        (lambda f: (f / "config.json").write_text("{"), "is no JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "holds no object"),
        (lambda f: (f / WEIGHTS).unlink(), f"has no {WEIGHTS}: write the folder by save_pretrained"),
        (
            lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:900]),
            "truncated, or not safetensors",
        ),
        (_other_shape, "does not fit its config.json"),
    ],
)
def test_what_is_refused(change: Any, said: str, folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "kl", tmp_path / "kl")
    change(tmp_path / "kl")
    with pytest.raises(ValueError, match=said):
        autoencoder_kl(str(tmp_path / "kl")).encode(x_and_z()[0])


def test_a_folder_of_pickles_is_refused(folders: Path, tmp_path: Path) -> None:
    """The weights would have to be unpickled; safetensors need no trust."""
    shutil.copytree(folders / "kl", tmp_path / "kl")
    (tmp_path / "kl" / WEIGHTS).rename(tmp_path / "kl" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="safe_serialization=True"):
        autoencoder_kl(str(tmp_path / "kl"))


def test_a_folder_of_another_class_is_refused(folders: Path) -> None:
    with pytest.raises(ValueError, match="holds a 'AutoencoderKL', and this codec is AutoencoderDC"):
        autoencoder_dc(str(folders / "kl"))
    codec: Codec = autoencoder_kl(str(folders / "kl"))
    with pytest.raises(ValueError, match="makes latents of 4 channels"):
        codec.image_shape((3, 4, 4))


@pytest.mark.slow
def test_digits_become_latents_and_samples_digits(folders: Path, tmp_path: Path) -> None:
    """The same commands as without a codec, but for packing first."""
    fields = {
        "data__codec": "autoencoder_kl", "data__codec_path": folders / "kl", "data__levels": 0, "data__centered": True,
        "data__num_channels": 4, "data__image_size": 4, "data__uniform_dequantization": False,
        "data__codec_levels": 17,
    }  # fmt: skip
    run(TINY, "pack", tmp_path, **fields)
    said = json.loads((tmp_path / "packed/test.json").read_text())["latents"]
    assert said["codec"] == "autoencoder_kl" and said["image_shape"] == [1, 8, 8]
    packed = {**fields, "data__dataset": "npy", "data__root": tmp_path / "packed"}
    run(TINY, "train", tmp_path, **packed, training__n_iters=2)
    out = run(TINY, "sample", tmp_path, **packed).out
    assert "6 samples" in out
    few = {**packed, "sampling__num_steps": 3}
    run(TINY, "reconstruct", tmp_path, **few, reconstruct__input="test", reconstruct__num_images=2)
    assert (tmp_path / "reconstruct/reconstruction/00001.png").is_file()
    for method in ("replacement", "dps", "moment_matching"):
        settings = {"control__method": method, "control__num_images": 2}
        run(TINY, "control", tmp_path, **few, **settings)
        held = json.loads((tmp_path / f"control/inpaint/{method}/report.json").read_text())
        assert held["count"] == 2
        assert (held["mean"]["pullbacks"] > 0) is (method != "replacement")
    other = program(
        "--config", TINY, "--mode", "train", "--workdir", tmp_path, **{**packed, "data__codec_path": ""}
    )
    assert "is no folder of an autoencoder of diffusers" in other.error
