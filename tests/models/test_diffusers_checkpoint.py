"""diffusers' folders: its outputs from our networks, its schedules from our processes, and the way back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file

from models import count_parameters, register_model
from models.base import Network
from models.checkpoints.architecture import Architecture
from models.checkpoints.diffusers import Published, describe_folder, export_diffusers
from models.checkpoints.diffusers_adm import adm_names, read_adm
from models.checkpoints.diffusers_config import read_unet
from models.checkpoints.diffusers_names import diffusers_names
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.checkpoints.loader import load_weights
from sde_lib.base import register_sde
from sde_lib.grids import Respaced

UNet = diffusers.UNet2DModel


def blocks(kind: str, levels: int, attending: int) -> dict[str, Any]:
    """Block types with attention at one level."""
    down = [f"{'Attn' if i == attending else ''}{kind}DownBlock2D" for i in range(levels)]
    return {
        "down_block_types": down,
        "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
    }


# The settings in the config.json of google/ddpm-* and google/ncsnpp-*, sizes apart.
DDPM = {
    "attention_head_dim": None,
    "center_input_sample": False,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "time_embedding_type": "positional",
}
NCSNPP = {
    "attention_head_dim": None,
    "center_input_sample": True,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1.41421356237,
    "norm_eps": 1e-6,
    "norm_num_groups": None,
    "time_embedding_type": "fourier",
}
PUBLISHED = {
    "google/ddpm-cifar10-32": {
        **DDPM,
        **blocks("", 4, 1),
        "sample_size": 32,
        "block_out_channels": [128, 256, 256, 256],
        "layers_per_block": 2,
    },
    "google/ddpm-celebahq-256": {
        **DDPM,
        **blocks("", 6, 4),
        "sample_size": 256,
        "block_out_channels": [128, 128, 256, 256, 512, 512],
        "layers_per_block": 2,
    },
    "google/ncsnpp-church-256": {
        **NCSNPP,
        **blocks("Skip", 7, 4),
        "sample_size": 256,
        "block_out_channels": [128, 128, 256, 256, 256, 256, 256],
        "layers_per_block": 2,
    },
    "google/ncsnpp-ffhq-1024": {
        **NCSNPP,
        **blocks("Skip", 8, 6),
        "sample_size": 1024,
        "block_out_channels": [16, 32, 64, 128, 256, 512, 512, 512],
        "layers_per_block": 1,
    },
}
# The tutorial's own, "Train a diffusion model": five of UNet2DModel's defaults are not google's.
PUBLISHED["diffusers' training example"] = {
    **blocks("", 6, 4),
    "sample_size": 128,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "layers_per_block": 2,
}
# The same at a size for tests. Attention of Skip blocks is ours from 128 channels on.
DDPM_SMALL = {
    **DDPM,
    **blocks("", 3, 1),
    "sample_size": 16,
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 1,
}
NCSNPP_SMALL = {
    **NCSNPP,
    **blocks("Skip", 3, 1),
    "sample_size": 16,
    "block_out_channels": [32, 128, 64],
    "layers_per_block": 1,
}
EXAMPLE = {
    **blocks("", 3, 1),
    "sample_size": 16,
    "in_channels": 3,
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 1,
}
# The settings of openai's consistency models in diffusers, which are ADM's U-Nets.
ADM: dict[str, Any] = {
    "attention_head_dim": 64,
    "attn_norm_num_groups": 32,
    "center_input_sample": False,
    "down_block_types": ["ResnetDownsampleBlock2D", *["AttnDownBlock2D"] * 3],
    "up_block_types": [*["AttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"],
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "resnet_time_scale_shift": "scale_shift",
}
PUBLISHED["openai/diffusers-cd_imagenet64_l2"] = {
    **ADM,
    "sample_size": 64,
    "block_out_channels": [192, 384, 576, 768],
    "layers_per_block": 3,
    "num_class_embeds": 1000,
}
ADM_SMALL: dict[str, Any] = {
    **ADM,
    "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"],
    "up_block_types": ["ResnetUpsampleBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "sample_size": 16,
    "attention_head_dim": 16,
    "norm_num_groups": 8,
    "attn_norm_num_groups": 8,
    "block_out_channels": [32, 48, 64],
    "layers_per_block": 1,
}
SMALL = {
    "adm": {**ADM_SMALL, "num_class_embeds": 5},
    "adm_two_blocks_attending_last": {
        **ADM_SMALL,
        "layers_per_block": 2,
        "down_block_types": ["AttnDownBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"],
    },
    "adm_added_time": {**ADM_SMALL, "resnet_time_scale_shift": "default", "attn_norm_num_groups": None},
    "adm_convolving": {
        **ADM_SMALL,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        "downsample_type": "conv",
        "upsample_type": "conv",
        "sample_size": [8, 16],
        "in_channels": 1,
        "out_channels": 2,
    },
    "adm_told_numbers": {**ADM_SMALL, "class_embed_type": "timestep"},
    "adm_told_vectors": {**ADM_SMALL, "class_embed_type": "identity"},
    "ddpm": DDPM_SMALL,
    "ddpm_two_blocks_uncentred": {**DDPM_SMALL, "layers_per_block": 2, "center_input_sample": True},
    "ddpm_one_head_in_words": {**DDPM_SMALL, "attention_head_dim": 64},
    "ddpm_grey_wide": {**DDPM_SMALL, "in_channels": 1, "out_channels": 2, "sample_size": [8, 16]},
    "ddpm_classes": {**DDPM_SMALL, "num_class_embeds": 5},
    "ddpm_told_numbers": {**DDPM_SMALL, "class_embed_type": "timestep"},
    "ddpm_told_vectors": {**DDPM_SMALL, "class_embed_type": "identity"},
    # The defaults of UNet2DModel itself, as diffusers' training example takes them.
    "ddpm_training_example": EXAMPLE,
    "ddpm_example_two_heads": {**EXAMPLE, "attention_head_dim": 32, "freq_shift": 1},
    "ddpm_example_sines_first": {**EXAMPLE, "flip_sin_to_cos": False, "downsample_padding": 0},
    "ncsnpp": NCSNPP_SMALL,
    "ncsnpp_two_blocks_centred": {**NCSNPP_SMALL, "layers_per_block": 2, "center_input_sample": False},
    "ncsnpp_positional": {
        **NCSNPP_SMALL,
        "time_embedding_type": "positional",
        "freq_shift": 1,
        "flip_sin_to_cos": False,
    },
}


def random_unet(settings: dict[str, Any]) -> Any:
    """diffusers' own network, every weight drawn afresh: none stays at an initial zero or one."""
    torch.manual_seed(0)
    unet = UNet(**settings).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return unet


def built(architecture: Architecture) -> Network:
    network: Network = register_model[architecture.name](**architecture.arguments)
    return network.eval()


def loaded(folder: Path) -> Network:
    network = built(describe_folder(folder).architecture)
    load_weights(network, folder)
    return network


def evaluate(theirs: Any, ours: Network) -> tuple[torch.Tensor, torch.Tensor]:
    """diffusers' output and ours; labels lie in the range of an index and of a sigma, fractions included."""
    size = theirs.config.sample_size
    torch.manual_seed(1)
    x = torch.randn(3, theirs.config.in_channels, *([size, size] if isinstance(size, int) else size))
    t = torch.tensor([0.0113, 2.5, 333.0])
    y = torch.tensor([0, 4, 2]) if theirs.config.num_class_embeds else None
    if theirs.config.class_embed_type == "timestep":
        y = torch.tensor([0.5, 40.0, 2.0])
    elif theirs.config.class_embed_type == "identity":
        y = torch.randn(3, 4 * theirs.config.block_out_channels[0])
    with torch.no_grad():
        return theirs(x, t, class_labels=y).sample, ours(x, t, **({} if y is None else {"y": y}))


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest, sample by sample: VE outputs of the three labels differ by orders of magnitude."""
    difference, scale = (v.flatten(1).abs().amax(1) for v in (actual - expected, expected))
    return float((difference / scale).max())


@pytest.mark.parametrize("name", SMALL)
def test_a_folder_of_diffusers_gives_its_outputs(name: str, tmp_path: Path) -> None:
    """The oracle is diffusers itself: its network, its folder, its output."""
    unet = random_unet(SMALL[name])
    unet.save_pretrained(tmp_path)
    expected, actual = evaluate(unet, loaded(tmp_path))
    assert relative_error(actual, expected) < 1e-5


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_architectures_have_our_names_and_shapes(name: str) -> None:
    """Every parameter of the published size, one for one (1x1 convolutions are matrices in our ddpm)."""
    if name.startswith("openai/"):
        pytest.skip("its q, k and v are one matrix here: see the next test")
    with torch.device("meta"):
        theirs = UNet(**PUBLISHED[name]).state_dict()
        ours = built(read_unet({"_class_name": "UNet2DModel", **PUBLISHED[name]}).architecture())
    shapes = {
        theirs_name: ours.get_parameter(name).shape for name, theirs_name in diffusers_names(ours).items()
    }
    assert shapes.keys() == theirs.keys()
    assert all(shape.numel() == theirs[key].numel() for key, shape in shapes.items())
    assert all(shape == theirs[key].shape[: len(shape)] for key, shape in shapes.items())


def test_the_published_adm_is_of_that_size() -> None:
    """openai's consistency model of ImageNet 64: ADM's U-Net of 295,904,454 weights with three output channels of six.
    Each output channel has 3 x 3 weights for each of 192 channels, and a bias."""
    config = {"_class_name": "UNet2DModel", **PUBLISHED["openai/diffusers-cd_imagenet64_l2"]}
    with torch.device("meta"):
        theirs, ours = UNet(**PUBLISHED["openai/diffusers-cd_imagenet64_l2"]), built(read_adm(config))
    assert count_parameters(ours) == sum(p.numel() for p in theirs.parameters())
    assert count_parameters(ours) == 295_904_454 - 3 * (9 * 192 + 1)
    names = {name.replace(".qkv.", ".to_q.") for name in adm_names(ours).values()}
    assert names <= theirs.state_dict().keys()


def test_published_counts() -> None:
    """score_sde's NCSN++ at 256 and 1024 pixels; its DDPM, and attention after two more up blocks of 256."""
    attention = 4 * (256 * 256 + 256) + 2 * 256
    expected = {
        "google/ddpm-cifar10-32": 35_218_947 + 2 * attention,
        "google/ncsnpp-church-256": 65_574_549,
        "google/ncsnpp-ffhq-1024": 105_785_896,
    }
    for name, count in expected.items():
        with torch.device("meta"):
            network = built(read_unet({"_class_name": "UNet2DModel", **PUBLISHED[name]}).architecture())
        assert count_parameters(network) == count


@pytest.mark.parametrize("name", SMALL)
def test_diffusers_to_ours_and_back(name: str, tmp_path: Path) -> None:
    """Bit for bit, and loadable: what diffusers reads from our folder is what it wrote in its own."""
    unet = random_unet(SMALL[name])
    unet.save_pretrained(tmp_path / "theirs")
    network = loaded(tmp_path / "theirs")
    size = unet.config.sample_size
    export_diffusers(network, tmp_path / "ours", sample_size=size if isinstance(size, int) else tuple(size))
    again, info = UNet.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values())
    state = unet.state_dict()
    assert again.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    assert torch.equal(*(evaluate(u.eval(), network)[0] for u in (unet, again)))


@pytest.mark.parametrize("name", ["ddpm", "ncsnpp"])
def test_ours_to_diffusers_and_back(name: str, tmp_path: Path) -> None:
    """A network initialised here, published, and loaded here again."""
    architecture = read_unet({"_class_name": "UNet2DModel", **SMALL[name]}).architecture()
    ours = built(architecture)
    export_diffusers(ours, tmp_path, sample_size=16)
    again = loaded(tmp_path)
    assert describe_folder(tmp_path) == Published(architecture, None)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("new_order", [False, True])
def test_the_order_of_attention_is_the_networks(new_order: bool, tmp_path: Path) -> None:
    """ADM's two orders of q, k and v give diffusers' output, each with its weights in its order, both ways."""
    unet = random_unet(ADM_SMALL)
    unet.save_pretrained(tmp_path / "theirs")
    architecture = describe_folder(tmp_path / "theirs").architecture
    arguments = architecture.arguments | {"use_new_attention_order": new_order}
    ours = built(Architecture("adm", arguments))
    load_weights(ours, tmp_path / "theirs")
    expected, actual = evaluate(unet, ours)
    assert relative_error(actual, expected) < 1e-5
    export_diffusers(ours, tmp_path / "ours", sample_size=16)
    again = UNet.from_pretrained(tmp_path / "ours").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in unet.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm_groups": 4}, "norm_num_groups is 8 in the folder and 4 here"),
        ({"num_head_channels": 8}, "attention_head_dim is 16 in the folder and 8 here"),
    ],
)
def test_an_adm_of_other_settings_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    """They show in no weight."""
    random_unet(ADM_SMALL).save_pretrained(tmp_path)
    architecture = describe_folder(tmp_path).architecture
    with pytest.raises(ValueError, match=message):
        load_weights(built(Architecture("adm", architecture.arguments | settings)), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 2, "num_head_channels": None, "attention_resolutions": (8, 4)}, "heads of one width"),
        ({"spare_label": True, "num_classes": 3}, "spare_label=False"),
        ({"upsample": "transposed", "resblock_updown": False}, "upsample='nearest'"),
        ({"augment_labels": 9}, "augment_labels=0"),
    ],
)
def test_an_adm_that_diffusers_has_not(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    arguments = read_adm({"_class_name": "UNet2DModel", **ADM_SMALL}).arguments
    with pytest.raises(ValueError, match=message):
        export_diffusers(built(Architecture("adm", arguments | settings)), tmp_path, sample_size=16)


def test_old_files_name_their_attention_otherwise(tmp_path: Path) -> None:
    """google's files predate today's names; pickled, at the root, and with the frequencies twice."""
    unet = random_unet(NCSNPP_SMALL)
    unet.save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = unet.state_dict()
    for new, name in old.items():
        state = {key.replace(new, name): value for key, value in state.items()}
    state["time_proj.W"] = state["time_proj.weight"]
    torch.save(state, tmp_path / "diffusion_pytorch_model.bin")
    expected, actual = evaluate(unet, loaded(tmp_path))
    assert relative_error(actual, expected) < 1e-5


def test_pipelines_keep_their_parts_in_folders(tmp_path: Path) -> None:
    unet = random_unet(DDPM_SMALL)
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler(num_train_timesteps=50)).save_pretrained(tmp_path)
    assert describe_folder(tmp_path).schedule == NoiseSchedule(
        sde="ddpm",
        arguments={"N": 50, "beta_min": 0.005, "beta_max": 1.0, "schedule": "linear"},
        continuous=False,
        output="eps",
        spacing="leading",
    )
    network = built(describe_folder(tmp_path).architecture)
    report = load_weights(network, tmp_path)
    assert [reason.split(":")[0] for reason in report.ignored] == ["scheduler_config", "unet_config"]
    expected, actual = evaluate(unet, network)
    assert relative_error(actual, expected) < 1e-5


@pytest.mark.parametrize(
    "kind", ["DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"]
)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 400},
        {"beta_start": 2e-4, "beta_end": 0.01},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
        {"rescale_betas_zero_snr": True, "num_train_timesteps": 200, "timestep_spacing": "trailing"},
    ],
)
def test_a_scheduler_is_our_chain(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """alpha_bar of every level, from diffusers' own (float32) table; and through the config that we write.

    Euler's scheduler has 2^-24 at a last level without signal, so as to divide by it.
    """
    if kind == "PNDMScheduler" and "rescale_betas_zero_snr" in settings:
        pytest.skip("diffusers has no such PNDM")
    scheduler = getattr(diffusers, kind)(**settings)
    random_unet(DDPM_SMALL).save_pretrained(tmp_path)
    scheduler.save_pretrained(tmp_path)
    published = describe_folder(tmp_path)
    assert published.schedule is not None
    chain = register_sde[published.schedule.sde](**published.schedule.arguments)
    levels = torch.arange(chain.num_levels)
    torch.testing.assert_close(
        chain.marginal(levels).alpha ** 2, scheduler.alphas_cumprod.double(), rtol=2e-4, atol=1e-7
    )
    if settings.get("rescale_betas_zero_snr"):
        assert chain.marginal(levels).alpha[-1] == 0
    export_diffusers(
        built(published.architecture), tmp_path / "ours", sample_size=16, schedule=published.schedule
    )
    again = diffusers.DDPMScheduler.from_pretrained(tmp_path / "ours")
    torch.testing.assert_close(again.alphas_cumprod, scheduler.alphas_cumprod, rtol=1e-5, atol=1e-7)
    for name in ("prediction_type", "timestep_spacing", "rescale_betas_zero_snr"):
        assert getattr(again.config, name) == getattr(scheduler.config, name, False)


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize(("steps", "offset"), [(7, 0), (16, 1), (50, 1)])
def test_the_spacing_of_steps(spacing: str, steps: int, offset: int, tmp_path: Path) -> None:
    """The levels that diffusers' own scheduler visits."""
    scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing, steps_offset=offset)
    random_unet(DDPM_SMALL).save_pretrained(tmp_path)
    scheduler.save_pretrained(tmp_path)
    schedule = describe_folder(tmp_path).schedule
    assert schedule is not None and schedule.spacing == spacing
    grid = Respaced(spacing=schedule.spacing, steps_offset=schedule.offset)
    process = register_sde[schedule.sde](**schedule.arguments)
    scheduler.set_timesteps(steps)
    assert grid.times(process, steps).tolist() == scheduler.timesteps.tolist()


def test_an_offset_beyond_the_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="steps_offset=1 puts the first step at level 1000 of a chain"):
        Respaced(steps_offset=1).times(register_sde["ddpm"](), 10)


@pytest.mark.parametrize(("theirs", "ours"), [("epsilon", "eps"), ("sample", "x0"), ("v_prediction", "v")])
def test_prediction_types(theirs: str, ours: str, tmp_path: Path) -> None:
    random_unet(DDPM_SMALL).save_pretrained(tmp_path)
    diffusers.DDIMScheduler(prediction_type=theirs).save_pretrained(tmp_path)
    schedule = describe_folder(tmp_path).schedule
    assert schedule is not None
    assert schedule.output == ours


def test_the_ve_scheduler_is_our_vesde(tmp_path: Path) -> None:
    """sigma at equal times, from diffusers' own table of sigmas."""
    scheduler = diffusers.ScoreSdeVeScheduler(num_train_timesteps=1000, sigma_max=380.0, snr=0.075)
    random_unet(NCSNPP_SMALL).save_pretrained(tmp_path)
    scheduler.save_pretrained(tmp_path)
    schedule = describe_folder(tmp_path).schedule
    assert schedule is not None
    assert (schedule.sde, schedule.continuous, schedule.output, schedule.snr) == (
        "vesde",
        True,
        "score",
        0.075,
    )
    process = register_sde[schedule.sde](**schedule.arguments)
    sigmas = process.marginal(torch.linspace(0, 1, 1000, dtype=torch.float64)[1:]).sigma
    torch.testing.assert_close(sigmas, scheduler.discrete_sigmas[1:].double(), rtol=1e-5, atol=0)
    assert process.prior_std == scheduler.init_noise_sigma


def edited(folder: Path, settings: dict[str, Any], **changes: Any) -> Path:
    """A folder that diffusers could have written: a config alone, for a refusal reads no weights."""
    config = {"_class_name": "UNet2DModel", **settings, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (DDPM_SMALL, {"attention_head_dim": 24}, "attention_head_dim=24; allowed: None or a divisor"),
        (NCSNPP_SMALL, {"attention_head_dim": 32}, "attention_head_dim=32"),
        (
            {**NCSNPP_SMALL, "time_embedding_type": "positional", "freq_shift": 1},
            {"flip_sin_to_cos": True},
            "flip_sin_to_cos=True; allowed: False .*sines first",
        ),
        (DDPM_SMALL, {"freq_shift": 2}, "freq_shift=2; allowed: 1 or 0 "),
        (DDPM_SMALL, {"downsample_padding": 2}, "downsample_padding=2; allowed: 0 or 1"),
        (NCSNPP_SMALL, {"norm_eps": 1e-5}, "norm_eps=1e-05; allowed: 1e-06"),
        (
            DDPM_SMALL,
            {"norm_num_groups": 16, "act_fn": "relu", "add_attention": False},
            "act_fn='relu'.*add_attention=False.*norm_num_groups=16",
        ),
        (DDPM_SMALL, {"norm_num_groups": 16}, "norm_num_groups=16; allowed: 32"),
        (
            DDPM_SMALL,
            {"time_embedding_type": "fourier"},
            "time_embedding_type='fourier'; allowed: 'positional'",
        ),
        (DDPM_SMALL, {"time_embedding_dim": 64}, "time_embedding_dim=64"),
        (
            DDPM_SMALL,
            {"resnet_time_scale_shift": "scale_shift"},
            "flip_sin_to_cos=False; .*freq_shift=1; .*norm_eps=1e-06; .*downsample_padding=0; .*our adm",
        ),
        (ADM_SMALL, {"center_input_sample": True}, "center_input_sample=True; allowed: False"),
        (ADM_SMALL, {"upsample_type": "conv"}, "within residual blocks everywhere"),
        (ADM_SMALL, {"attn_norm_num_groups": None}, "attn_norm_num_groups=None; allowed: 8"),
        (
            ADM_SMALL,
            {"norm_num_groups": 12, "attn_norm_num_groups": 12},
            "norm_num_groups=12; allowed: a divisor",
        ),
        (ADM_SMALL, {"attention_head_dim": 20}, "attention_head_dim=20; allowed: a divisor"),
        (ADM_SMALL, {"attention_head_dim": None}, "attention_head_dim=None; allowed: a number"),
        (ADM_SMALL, {"class_embed_type": "projection"}, "class_embed_type='projection'"),
        (ADM_SMALL, {"up_block_types": ["AttnUpBlock2D"] * 3}, "our way up mirrors the way down"),
        (
            ADM_SMALL,
            {"down_block_types": ["KDownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"]},
            "down_block_types=.*KDownBlock2D.*the blocks of our adm",
        ),
        (ADM_SMALL, {"sample_size": 18}, "sample_size=18; allowed: multiples of 4"),
        (DDPM_SMALL, {"mid_block_type": None}, "mid_block_type=None"),
        (DDPM_SMALL, {"act_fn": "relu"}, "act_fn='relu'; allowed: 'silu' or 'swish'"),
        (DDPM_SMALL, {"sample_size": None}, "sample_size=None; allowed: a size"),
        (DDPM_SMALL, {"sample_size": 18}, r"sample_size=\[18, 18\]; allowed: multiples of 4"),
        (DDPM_SMALL, {"block_out_channels": [64, 96, 64]}, "block_out_channels=.*multiples of the first"),
        (DDPM_SMALL, {"up_block_types": ["UpBlock2D"] * 3}, "up_block_types=.*mirrors"),
        (
            DDPM_SMALL,
            {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"]},
            "down_block_types=",
        ),
        (NCSNPP_SMALL, {"block_out_channels": [32, 64, 64]}, "128 or more where a level attends .*32 groups"),
        (NCSNPP_SMALL, {"mid_block_scale_factor": 1}, r"mid_block_scale_factor=1; allowed: 1.414.*sqrt 2"),
        (NCSNPP_SMALL, {"in_channels": 1}, "in_channels=1; allowed: 3 "),
        (DDPM_SMALL, {"novel_setting": 1}, "not known here: novel_setting"),
        (DDPM_SMALL, {"_class_name": "UNet2DConditionModel"}, "only UNet2DModel"),
    ],
)
def test_another_function_is_refused(
    settings: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        describe_folder(edited(tmp_path, settings, **changes))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"beta_schedule": "sigmoid"},
            "beta_schedule='sigmoid'.*allowed: linear, scaled_linear, squaredcos_cap_v2",
        ),
        ({"beta_schedule": "linear", "trained_betas": [0.1, 0.2]}, "trained_betas"),
        ({"beta_schedule": "linear", "timestep_spacing": "odd"}, "timestep_spacing='odd'"),
        ({"beta_schedule": "linear", "variance_type": "learned_range"}, "variance_type='learned_range'"),
        ({"sigma_data": 0.5}, "no beta_schedule"),
    ],
)
def test_another_schedule_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    edited(tmp_path, DDPM_SMALL)
    (tmp_path / "scheduler_config.json").write_text(json.dumps({"_class_name": "Some", **config}))
    with pytest.raises(ValueError, match=message):
        describe_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ddpm", {"centered": False}, "centered is True in the folder and False here"),
        ("ncsnpp", {"fir_kernel": (1, 2, 1)}, r"only with fir_kernel=\(1, 3, 3, 1\)"),
        ("ncsnpp", {"skip_rescale": False}, "only with skip_rescale=True"),
        ("ncsnpp", {"scale_by_sigma": False}, "only with scale_by_sigma"),
        ("ncsnpp", {"nonlinearity": "elu"}, "only with nonlinearity='swish'"),
        ("ncsnpp", {"progressive_combine": "cat"}, "only with progressive_combine='sum'"),
        ("ddpm", {"attention_after_every_up_block": False}, "only with attention_after_every_up_block=True"),
        ("ddpm", {"num_res_blocks": 2}, "layers is 1 in the folder and 2 here"),
    ],
)
def test_a_network_of_other_settings_is_refused(
    name: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Most of them leave no trace in names or shapes: the weights would load, and mean something else."""
    random_unet(SMALL[name]).save_pretrained(tmp_path)
    architecture = describe_folder(tmp_path).architecture
    network = built(Architecture(name, {**architecture.arguments, **settings}))
    with pytest.raises(ValueError, match=message):
        load_weights(network, tmp_path)


def test_a_network_that_diffusers_lacks_is_not_exported(tmp_path: Path) -> None:
    network = register_model["ddpm"](image_size=(8,), channels=32, channel_mult=(1, 1))
    with pytest.raises(ValueError, match="only with"):
        export_diffusers(network, tmp_path / "out", sample_size=8)
    assert not (tmp_path / "out").exists()


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    random_unet(DDPM_SMALL).save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["down_blocks.1.attentions.0.to_k.bias"]
    save_file(state, file)
    with pytest.raises(ValueError, match=r"1 missing in the file: down_blocks\.1\.attentions\.0\.to_k\.bias"):
        loaded(tmp_path)


def test_the_weights_without_their_config_are_refused(tmp_path: Path) -> None:
    random_unet(DDPM_SMALL).save_pretrained(tmp_path)
    network = built(describe_folder(tmp_path).architecture)
    with pytest.raises(ValueError, match="give the folder"):
        load_weights(network, tmp_path / "diffusion_pytorch_model.safetensors")


def test_a_folder_without_weights_or_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"neither unet/config\.json nor transformer/config\.json nor config\.json"
    ):
        describe_folder(tmp_path)
    network = built(describe_folder(edited(tmp_path, DDPM_SMALL)).architecture)
    with pytest.raises(ValueError, match=r"has none of diffusion_pytorch_model\.safetensors"):
        load_weights(network, tmp_path)


def test_a_hub_id_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the hub's client, which here answers from a folder; pickles only where nothing else is."""
    import huggingface_hub

    unet = random_unet(DDPM_SMALL)
    unet.save_pretrained(tmp_path)
    asked: list[str] = []

    def snapshot(repo: str, *, allow_patterns: list[str]) -> str:
        assert repo == "owner/model"
        asked.extend(name for name in allow_patterns if name.startswith("diffusion"))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    network = built(read_unet({"_class_name": "UNet2DModel", **DDPM_SMALL}).architecture())
    load_weights(network, "owner/model")
    expected, actual = evaluate(unet, network)
    assert relative_error(actual, expected) < 1e-5
    assert asked == ["diffusion_pytorch_model.safetensors"]


def test_a_hub_out_of_reach_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*_: Any, **__: Any) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ValueError, match=r"owner/model is no folder here.*\(OSError: no route to host\)"):
        describe_folder("owner/model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"pip install 'score-pc\[hub\]'"):
        describe_folder("owner/model")
