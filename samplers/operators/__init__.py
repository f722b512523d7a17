"""Linear measurements y = A x, by name. Importing this package registers ours."""

from samplers.operators.base import (
    Linearised,
    LinearOperator,
    Measurement,
    check_adjoint,
    check_measurement,
    check_noise_std,
    register_operator,
)
from samplers.operators.blur import Blur
from samplers.operators.compressed_sensing import Matrix
from samplers.operators.downsample import Downsample
from samplers.operators.fourier import Fourier
from samplers.operators.grey import Grey
from samplers.operators.mask import Mask
from samplers.operators.through import Through

__all__ = [
    "Blur",
    "Downsample",
    "Fourier",
    "Grey",
    "LinearOperator",
    "Linearised",
    "Mask",
    "Matrix",
    "Measurement",
    "Through",
    "check_adjoint",
    "check_measurement",
    "check_noise_std",
    "register_operator",
]
