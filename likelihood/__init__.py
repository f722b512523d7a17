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

# Log-likelihoods of the probability flow, and the trace of its Jacobian.
__all__ = [
    "Divergence",
    "ExactTrace",
    "Failure",
    "HutchPlusPlus",
    "Hutchinson",
    "Likelihood",
    "log_likelihood",
]
# Variational bounds.
__all__ += ["DenoisingBound", "VariationalBound", "variational_bound"]
# Bits per dimension of discrete data.
__all__ += [
    "Dequantisation",
    "Dequantised",
    "UniformDequantisation",
    "VariationalDequantisation",
    "bits_per_dim",
    "fit_dequantisation",
    "importance_weighted",
]
# score_sde's entry point.
__all__ += ["get_likelihood_fn"]
