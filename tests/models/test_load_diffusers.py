"""A diffusers folder as a model to sample from, against diffusers' own network and schedulers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from models import load_diffusers
from sde_lib import VESDE, DiscreteDiffusion
from sde_lib.chain_sde import InterpolatedChain

SMALL: dict[str, Any] = {
    "attention_head_dim": None,
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "norm_eps": 1e-6,
    "sample_size": 8,
}
DDPM: dict[str, Any] = {
    **SMALL,
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}
NCSNPP: dict[str, Any] = {
    **SMALL,
    "center_input_sample": True,
    "down_block_types": ["SkipDownBlock2D", "SkipDownBlock2D"],
    "up_block_types": ["SkipUpBlock2D", "SkipUpBlock2D"],
    "mid_block_scale_factor": 2**0.5,
    "norm_num_groups": None,
    "time_embedding_type": "fourier",
}


def saved(folder: Path, settings: dict[str, Any], scheduler: Any) -> Any:
    """A folder of diffusers, with random weights; its network."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(**settings).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    unet.save_pretrained(folder / "unet")
    if scheduler is not None:
        scheduler.save_pretrained(folder / "scheduler")
    return unet


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_the_data_predicted_are_those_of_diffusers(prediction_type: str, tmp_path: Path) -> None:
    """Labels, noise levels and the output's meaning at once: x0 as diffusers' scheduler derives it."""
    scheduler = diffusers.DDIMScheduler(prediction_type=prediction_type, clip_sample=False)
    unet = saved(tmp_path, DDPM, scheduler)
    model = load_diffusers(tmp_path)
    assert not model.training
    scheduler.set_timesteps(1000)
    x = draw(2, 3, 8, 8)
    with torch.no_grad():
        for t in (3, 500, 800):
            expected = scheduler.step(unet(x, t).sample, t, x).pred_original_sample
            found = model(x, torch.tensor([t, t])).x0
            torch.testing.assert_close(
                found.float(), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
            )


def test_ncsnpp_is_told_sigma_and_gives_the_score(tmp_path: Path) -> None:
    """sigma(t) of sigma_min = 0.01, sigma_max = 100 halfway: 1."""
    unet = saved(tmp_path, NCSNPP, diffusers.ScoreSdeVeScheduler(sigma_min=0.01, sigma_max=100.0))
    model = load_diffusers(tmp_path)
    assert isinstance(model.process, VESDE)
    x = draw(2, 3, 8, 8)
    with torch.no_grad():
        score = model(x, model.process.time([0.5, 0.5])).score
        torch.testing.assert_close(score.float(), unet(x, torch.ones(2)).sample, rtol=1e-4, atol=1e-4)


def test_a_folder_without_a_scheduler_needs_a_process(tmp_path: Path) -> None:
    unet = saved(tmp_path, DDPM, None)
    with pytest.raises(ValueError, match=r"has no scheduler_config\.json.*process="):
        load_diffusers(tmp_path)
    process = InterpolatedChain(DiscreteDiffusion.ddpm(torch.linspace(1e-4, 0.02, 1000)))
    x = draw(1, 3, 8, 8)
    with torch.no_grad():
        found = load_diffusers(tmp_path, process=process)(x, torch.tensor([40.5], dtype=torch.float64)).eps
        torch.testing.assert_close(found, unet(x, torch.tensor([40.5])).sample, rtol=1e-3, atol=1e-3)
