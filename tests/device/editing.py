"""Guidance, measurements and score_sde's entry points on a device."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.exact.mixtures import GaussianScore, MixtureClassifier
from models.prediction.denoised import Clip, Denoised, DynamicThreshold
from models.prediction.noise_model import Model, NoiseModel
from models.prediction.time_encoding import Time
from run_lib.computing.placement import Placement
from samplers import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DenoisedLossGuidance,
    LogProbGuidance,
    PCSampler,
    Replacement,
    get_ode_sampler,
    get_pc_colorizer,
    get_pc_conditional_sampler,
    get_pc_inpainter,
    get_pc_sampler,
    register_operator,
    register_posterior,
)
from samplers.correctors.langevin import Langevin
from samplers.operators.base import check_adjoint
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.ddim import DDIM
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from tests.device.densities import learned_on
from tests.device.subjects import PROCESSES, SHAPE, Work, mixture, model_on, noise_on

IMAGES = (2, 2, 4, 4)
OPERATORS: dict[str, dict[str, Any]] = {
    "blur": {"std": 0.7},
    "compressed_sensing": {"measurements": 5, "kind": "gaussian"},
    "downsample": {"factor": 2},
    "fourier": {"lines": 2, "centre": 1},
    "grey": {},
    "mask_box": {"height": 2, "width": 2},
    "mask_half": {},
    "mask_random": {"fraction": 0.5},
}
GUIDED = ("vpsde", "ddpm", "interpolated")
INTERVAL = (0.1, 5.0)


def guided_on(device: torch.device, name: str, kind: str) -> tuple[Model, dict[str, Tensor]]:
    """A guided model and its conditioning."""
    y = torch.tensor([0, 1, 1], device=device)
    if kind == "classifier":
        process = PROCESSES[name]()
        plain = NoiseModel(mixture(process), process, Time(process), "score")
        guided = ClassifierGuidance(plain, MixtureClassifier(mixture(process)), 2.0, INTERVAL)
        return Placement(device).place(guided), {"y": y}
    if kind == "classifier of the mean":
        model = model_on(device, name)
        classifier = MixtureClassifier(mixture(model.process)).to(device)
        return ClassifierGuidance(model, classifier, shift="mean"), {"y": y}
    if kind == "classifier_free":
        model = model_on(device, name, classes=3)
        return ClassifierFreeGuidance(model, 2, 1.5, INTERVAL, rescale=0.5), {"y": y}
    model = model_on(device, name)
    if kind == "log_prob":
        return LogProbGuidance(model, lambda x, t: -x.square().sum(1)), {}
    return DenoisedLossGuidance(model, lambda x0: x0.square().sum(1)), {}


GUIDANCES = ("classifier", "classifier of the mean", "classifier_free", "log_prob", "denoised loss")


def guidance_work(name: str, kind: str, device: torch.device) -> Tensor:
    model, cond = guided_on(device, name, kind)
    predictor = AncestralSampling() if kind == "classifier of the mean" else DDIM()
    sampler = PCSampler.of(model, predictor, Langevin(), num_steps=3)
    return sampler.sample(SHAPE, noise_on(device), **cond).x


def denoised_work(kind: str, device: torch.device) -> Tensor:
    transform = Clip() if kind == "clip" else DynamicThreshold(0.5)
    sampler = PCSampler.of(Denoised(model_on(device, "vpsde"), transform), DDIM(), num_steps=3)
    return sampler.sample(SHAPE, noise_on(device)).x


def variance_work(kind: str, device: torch.device) -> Tensor:
    sampler = PCSampler.of(learned_on(device, "ddpm", kind), AncestralSampling(), num_steps=4)
    return sampler.sample((3, 2), noise_on(device)).x


def images_on(device: torch.device, name: str) -> Model:
    process = PROCESSES[name]()
    network = GaussianScore(process=process, mean=0.1, std=0.5)
    return Placement(device).place(NoiseModel(network, process, Time(process), "score"))


def operator_work(operator: str, method: str, name: str, device: torch.device) -> Tensor:
    """An operator that was made on the CPU and moved, and samples given what it measures."""
    made = Placement(device).place(register_operator[operator](IMAGES[1:], **OPERATORS[operator]))
    check_adjoint(made, IMAGES, device=device)
    model, truth = images_on(device, name), noise_on(device, 2, seed=8).normal(IMAGES)
    y, noise = made.apply(truth), noise_on(device, 2)
    if method == "replacement":
        sampler = PCSampler.of(model, ReverseDiffusion(), num_steps=3, constraints=[Replacement(made, y)])
        return sampler.sample(IMAGES, noise).x
    posterior = register_posterior[method](model, made, noise_std=0.1)
    return PCSampler.of(posterior, DDIM(), num_steps=3).sample(IMAGES, noise, measurement=y).x


def posterior_moved_work(device: torch.device) -> Tensor:
    """A posterior that is moved as a module takes its operator with it."""
    operator = register_operator["blur"](IMAGES[1:], std=0.7)
    posterior = register_posterior["pseudo_inverse"](
        images_on(torch.device("cpu"), "ddpm"), operator, noise_std=0.1
    )
    y = torch.full(IMAGES, 0.2, device=device)
    sampler = PCSampler.of(posterior.to(device), DDIM(), num_steps=3)
    return sampler.sample(IMAGES, noise_on(device, 2), measurement=y).x


def score_sde_work(what: str, device: torch.device) -> Tensor:
    model = model_on(device, "vpsde")
    sde = model.process
    common: dict[str, Any] = {"snr": 0.1, "inverse_scaler": lambda x: (x + 1) / 2, "continuous": True}
    parts = (ReverseDiffusion, Langevin)
    if what == "sampler":
        return get_pc_sampler(sde, SHAPE, *parts, **common, device=device, num_steps=3)(model)[0]
    if what == "ode":
        common.pop("snr")
        return get_ode_sampler(sde, SHAPE, **common, rtol=0.05, atol=0.05, device=device)(model)[0]
    if what == "conditional":
        classifier = MixtureClassifier(mixture(sde))
        sampler = get_pc_conditional_sampler(
            sde, model, classifier, None, SHAPE, *parts, **common, device=device, num_steps=3
        )
        return sampler(torch.tensor([0, 1, 1]))
    model, x = images_on(device, "vpsde"), noise_on(device, 2, seed=8).normal(IMAGES)
    sde = model.process
    if what == "inpainter":
        mask = (torch.arange(4, device=device) < 2).expand(4, 4)
        return get_pc_inpainter(sde, *parts, **common, num_steps=3)(model, x, mask)
    return get_pc_colorizer(sde, *parts, **common, num_steps=3)(model, x)


def _works() -> Iterator[tuple[str, Work]]:
    for name in GUIDED:
        for kind in GUIDANCES:
            if name == "ddpm" or kind != "classifier of the mean":
                yield f"{kind} guidance-{name}", partial(guidance_work, name, kind)
    for kind in ("clip", "threshold"):
        yield f"{kind}-vpsde", partial(denoised_work, kind)
    for kind in ("learned", "learned_range"):
        yield f"{kind} variance-ddpm", partial(variance_work, kind)
    for operator in OPERATORS:
        for method in (*register_posterior, "replacement"):
            if method != "replacement" or operator != "compressed_sensing":
                for name in ("vpsde", "ddpm"):
                    yield f"{method} of {operator}-{name}", partial(operator_work, operator, method, name)
    yield "posterior moved-ddpm", posterior_moved_work
    for what in ("sampler", "ode", "conditional", "inpainter", "colorizer"):
        yield f"score_sde's {what}-vpsde", partial(score_sde_work, what)


WORKS: dict[str, Work] = dict(_works())
