"""Log-likelihoods and bits per dimension."""

from likelihood.ancestor import get_likelihood_fn
from likelihood.bits import bits_per_dim
from likelihood.divergence import Divergence, ExactTrace, Hutchinson, HutchPlusPlus
from likelihood.ode import Failure, Likelihood, log_likelihood
from likelihood.vlb import VariationalBound, variational_bound

__all__ = [
    "Divergence",
    "ExactTrace",
    "Failure",
    "HutchPlusPlus",
    "Hutchinson",
    "Likelihood",
    "VariationalBound",
    "bits_per_dim",
    "get_likelihood_fn",
    "log_likelihood",
    "variational_bound",
]
