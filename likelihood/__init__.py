"""Log-likelihoods and bits per dimension."""

from likelihood.bits import bits_per_dim
from likelihood.denoising_bound import DenoisingBound
from likelihood.dequantise import Dequantisation, Dequantised, UniformDequantisation, importance_weighted
from likelihood.divergence import Divergence, ExactTrace, Hutchinson, HutchPlusPlus
from likelihood.fit_dequantisation import fit_dequantisation
from likelihood.ode import Failure, Likelihood, log_likelihood
from likelihood.score_sde import get_likelihood_fn
from likelihood.variational_dequantise import VariationalDequantisation
from likelihood.vlb import VariationalBound, variational_bound

__all__ = [
    "DenoisingBound",
    "Dequantisation",
    "Dequantised",
    "Divergence",
    "ExactTrace",
    "Failure",
    "HutchPlusPlus",
    "Hutchinson",
    "Likelihood",
    "UniformDequantisation",
    "VariationalBound",
    "VariationalDequantisation",
    "bits_per_dim",
    "fit_dequantisation",
    "get_likelihood_fn",
    "importance_weighted",
    "log_likelihood",
    "variational_bound",
]
