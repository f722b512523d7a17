"""Feature spaces in which a scorer compares samples with data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from sde_lib.registry import Registry

Features: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""A map from samples (N, D), one row each, to their features (N, F)."""
register_features: Registry[Callable[[np.ndarray], Features]] = Registry("feature space")
"""Functions of the real data (N, D), one row a sample, which return a map to features."""


@register_features(name="pixels")
def pixels(real: np.ndarray) -> Features:
    """The levels themselves."""
    return lambda samples: samples


@register_features(name="pca")
def pca(real: np.ndarray) -> Features:
    """The first 20 principal components of the real data."""
    from sklearn.decomposition import PCA

    fitted = PCA(min(20, *real.shape), random_state=0).fit(real)
    return lambda samples: np.asarray(fitted.transform(samples))
