"""score_sde's class-conditional sampler, for users who know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from models.base import Network
from models.prediction.classifier import Classifier, NoisyClassifier
from models.prediction.noise_model import Model
from models.prediction.time_encoding import NoiseLevel
from samplers.base import Corrector, Predictor
from samplers.correctors.none import NoneCorrector
from samplers.guidance.classifier import ClassifierGuidance
from samplers.predictors.none import NonePredictor
from samplers.score_sde import as_model, get_pc_sampler
from sde_lib.base import GaussianSDE

ConditionalSampler = Callable[[Tensor], Tensor]
"""labels (B,) -> samples (B, ...) in the data's scale."""


def get_pc_conditional_sampler(
    sde: GaussianSDE,
    score_model: Model | Network,
    classifier: Classifier | Network,
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
    """A predictor-corrector sampler guided by a classifier: ``sampler(labels) -> samples``.

    As the ancestor's (its JAX version's), with what ``get_pc_sampler`` puts right. Each call goes on to fresh
    samples.

    Args:
        sde: the forward process.
        score_model: a model of it, or a network, read by the process's convention.
        classifier: of noisy states; a network is evaluated at (x, sigma(t)), as the ancestor's are.
        classifier_params: its weights, loaded strictly; None: those that it has.
        shape: of the batch, (B, ...).
        predictor, corrector: classes, such as ``register_predictor["reverse_diffusion"]``, or None.
        inverse_scaler: from the model's range to the data's.
        snr: of the corrector, where it has one.
        n_steps: corrector sub-steps at each time.
        probability_flow: of the predictor, where it has a choice.
        continuous: how a bare network was trained.
        denoise: close with the estimate of clean data.
        eps: the smallest time at which the model is evaluated; the process's own unless given (the ancestor's
            1e-5 is VE's).
        scale: of the classifier's gradient.
        device: where samples are made.
        num_steps: of the predictor; the ancestor's ``sde.N`` unless given.
        seed: of the samples' streams.

    Raises:
        ValueError: labels that are not one a sample, parameters of another classifier.
    """
    noisy = _by_noise_level(classifier, sde) if isinstance(classifier, Network) else classifier
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


def _by_noise_level(network: Network, sde: GaussianSDE) -> Classifier:
    return NoisyClassifier(network, sde, NoiseLevel(sde))
