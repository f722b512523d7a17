"""Controllable generation, inpainting and colorization, with score_sde_pytorch's functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.prediction.noise_model import Model
from samplers.base import Constraint, Corrector, Predictor
from samplers.constraints.replacement import Replacement
from samplers.operators.grey import Grey
from samplers.operators.mask import Mask
from samplers.pc import PCSampler
from samplers.score_sde.unconditional import as_model, with_settings
from sde_lib.base import SDE
from sde_lib.noise import Noise

Inpainter = Callable[[Model | nn.Module, Tensor, Tensor], Tensor]
"""(model, data, mask) -> complete images in the data's scale."""

Colorizer = Callable[[Model | nn.Module, Tensor], Tensor]
"""(model, grey images) -> colour images in the data's scale."""


def get_pc_inpainter(
    sde: SDE,
    predictor: type[Predictor],
    corrector: type[Corrector],
    inverse_scaler: Callable[[Tensor], Tensor],
    snr: float,
    n_steps: int = 1,
    probability_flow: bool = False,
    continuous: bool = False,
    denoise: bool = True,
    eps: float | None = None,
    *,
    num_steps: int | None = None,
    seed: int = 0,
) -> Inpainter:
    """Make an inpainter, ``inpaint(model, data, mask) -> images``.

    It differs from score_sde's function of this name where that is at fault: with ``denoise`` the result is the
    estimate of clean data, in which the known pixels are the data's, bit for bit; sampling ends at the process's own
    ``t_end``; and the known pixels start with the noise of the prior. Each call draws further samples of the seed.

    ``data`` (B, C, H, W) is in the model's range; ``mask``, 1 where it is known, broadcasts to it, so that it
    may differ between the samples.

    Args:
        sde, predictor, corrector, inverse_scaler, snr, n_steps, probability_flow, continuous, denoise: as for
            ``get_pc_sampler``.
        eps: the smallest time at which the model is evaluated; the process's ``t_end`` unless given.
        num_steps, seed: as for ``get_pc_sampler``.
    """
    run = _Runs(
        sde, predictor, corrector, snr, n_steps, probability_flow, continuous, denoise, eps, num_steps, seed
    )

    def pc_inpainter(model: Model | nn.Module, data: Tensor, mask: Tensor) -> Tensor:
        operator = Mask(mask)
        return inverse_scaler(run(model, data, Replacement(operator, operator.apply(data))))

    return pc_inpainter


def get_pc_colorizer(
    sde: SDE,
    predictor: type[Predictor],
    corrector: type[Corrector],
    inverse_scaler: Callable[[Tensor], Tensor],
    snr: float,
    n_steps: int = 1,
    probability_flow: bool = False,
    continuous: bool = False,
    denoise: bool = True,
    eps: float | None = None,
    *,
    num_steps: int | None = None,
    seed: int = 0,
) -> Colorizer:
    """Make a colorizer, ``colorize(model, grey) -> images``, where ``grey`` is (B, C, H, W).

    The mean of ``grey`` over the channels is the grey image. Arguments, and what differs from score_sde's function of
    this name, are those of ``get_pc_inpainter``.
    """
    run = _Runs(
        sde, predictor, corrector, snr, n_steps, probability_flow, continuous, denoise, eps, num_steps, seed
    )

    def pc_colorizer(model: Model | nn.Module, gray_scale_img: Tensor) -> Tensor:
        operator = Grey(gray_scale_img.shape[1])
        return inverse_scaler(
            run(model, gray_scale_img, Replacement(operator, operator.apply(gray_scale_img)))
        )

    return pc_colorizer


@dataclass
class _Runs:
    """score_sde's arguments, and how many samples have been drawn with them."""

    sde: SDE
    predictor: type[Predictor]
    corrector: type[Corrector]
    snr: float
    n_steps: int
    probability_flow: bool
    continuous: bool
    denoise: bool
    eps: float | None
    num_steps: int | None
    seed: int
    made: int = 0

    def __call__(self, model: Model | nn.Module, data: Tensor, constraint: Constraint) -> Tensor:
        end = self.sde.t_end if self.eps is None else self.eps
        sampler = PCSampler(
            model=as_model(model, self.sde, self.continuous),
            predictor=with_settings(self.predictor, probability_flow=self.probability_flow),
            corrector=with_settings(self.corrector, snr=self.snr),
            times=torch.linspace(self.sde.T, end, self.num_steps or self.sde.N, dtype=torch.float64),
            n_steps_each=self.n_steps,
            noise_removal=self.denoise,
            constraints=[constraint],
        )
        rows = range(self.made, self.made + len(data))
        self.made += len(data)
        return sampler.sample(data.shape, Noise(self.seed, rows, data.device, data.dtype)).x
