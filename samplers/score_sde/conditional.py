"""Class-conditional sampling with the function of score_sde (JAX)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.prediction.classifier import Classifier, NoisyClassifier
from models.prediction.noise_model import Model
from models.prediction.time_encoding import NoiseLevel
from samplers.base import Corrector, Predictor
from samplers.correctors.none import NoneCorrector
from samplers.guidance.classifier import ClassifierGuidance
from samplers.predictors.none import NonePredictor
from samplers.score_sde.unconditional import as_model, get_pc_sampler
from sde_lib.base import GaussianSDE

ConditionalSampler = Callable[[Tensor], Tensor]
"""labels (B,) -> samples (B, ...) in the data's scale."""


def get_pc_conditional_sampler(
    sde: GaussianSDE,
    score_model: Model | nn.Module,
    classifier: Classifier | nn.Module,
    classifier_params: Mapping[str, Tensor] | None,
    shape: Sequence[int],
    predictor: type[Predictor] | None,
    corrector: type[Corrector] | None,
    inverse_scaler: Callable[[Tensor], Tensor],
    snr: float,
    n_steps: int = 1,
    probability_flow: bool = False,
    continuous: bool = False,
    denoise: bool = True,
    eps: float | None = None,
    *,
    scale: float = 1.0,
    device: torch.device | str = "cuda",
    num_steps: int | None = None,
    seed: int = 0,
) -> ConditionalSampler:
    """Make a predictor-corrector sampler with classifier guidance, ``sampler(labels) -> samples``.

    It is the function of score_sde's JAX version, and differs from it as ``get_pc_sampler`` does. Each call draws
    further samples of the seed.

    Args:
        sde: the forward process.
        score_model: a model of this process, or a network, which is read by the convention of the process.
        classifier: a classifier of noisy states; a network is evaluated at (x, sigma(t)), as in score_sde.
        classifier_params: a state dict to load into the classifier, strictly; None: it keeps its weights.
        shape: shape of the batch, (B, ...).
        predictor, corrector: classes, such as ``register_predictor["reverse_diffusion"]``, or None.
        inverse_scaler: from the model's range to the data's.
        snr, n_steps, probability_flow, continuous, denoise: as for ``get_pc_sampler``.
        eps: the smallest time at which the model is evaluated; the process's ``t_end`` unless given (score_sde's
            1e-5 is right for the VE SDE only).
        scale: factor of the classifier's gradient.
        device, num_steps, seed: as for ``get_pc_sampler``.

    Raises:
        ValueError: labels that are not one a sample, parameters of another classifier.
    """
    noisy = classifier if isinstance(classifier, Classifier) else _by_noise_level(classifier, sde)
    if classifier_params is not None:
        classifier.load_state_dict(dict(classifier_params))
    noisy.to(device).requires_grad_(False).eval()
    guided = ClassifierGuidance(as_model(score_model, sde, continuous).to(device), noisy, scale)
    sampler = get_pc_sampler(
        sde,
        shape,
        predictor or NonePredictor,
        corrector or NoneCorrector,
        inverse_scaler,
        snr,
        n_steps,
        probability_flow,
        continuous,
        denoise,
        sde.t_end if eps is None else eps,
        device,
        num_steps=num_steps,
        seed=seed,
    )

    def pc_conditional_sampler(labels: Tensor) -> Tensor:
        if labels.shape != (shape[0],):
            raise ValueError(
                f"the sampler makes {shape[0]} samples and needs as many labels, of shape {(shape[0],)}; got "
                f"{tuple(labels.shape)}."
            )
        samples, _ = sampler(guided.given(y=labels.to(device)))
        return samples

    return pc_conditional_sampler


def _by_noise_level(network: nn.Module, sde: GaussianSDE) -> Classifier:
    return NoisyClassifier(network, sde, NoiseLevel(sde))
