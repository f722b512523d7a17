"""config.device, precision, deterministic, compile -> where and how networks are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ml_collections import ConfigDict

from models.base import Network
from run_lib.computing.numerics import AS_THEY_ARE, Arithmetic, Compilation
from run_lib.computing.placement import Placement, find_device
from run_lib.config.compiling import compilations
from run_lib.config.configuration import Configuration


def compiled_placement(
    configuration: Configuration,
    network: Network,
    shape: tuple[int, ...],
    decided: Mapping[str, Compilation] | None = None,
) -> Placement:
    """The same as ``build_placement`` of a network that ``config.compile`` may compile; what it chooses is said.

    Args:
        configuration: complete.
        network: that is evaluated.
        shape: of a sample.
        decided: what is compiled, by kind of work; None: ``config.compile`` decides.

    Raises:
        ValueError: a device that is not here, a network that cannot be compiled.
    """
    values = configuration.values
    if decided is None:
        decided = compilations(configuration, network, shape, find_device(values.device))
    return build_placement(values, decided)


def build_placement(
    config: ConfigDict, compiled: Mapping[str, Compilation] = MappingProxyType({})
) -> Placement:
    """The device, and how networks are evaluated there in each kind of work.

    Args:
        config: complete.
        compiled: by kind of work; nothing in one that is not there.

    Raises:
        ValueError: a device that is not here.
    """

    def used(work: str, section: ConfigDict) -> Arithmetic:
        return Arithmetic(
            section.precision,
            config.deterministic,
            compiled.get(work, AS_THEY_ARE),
            constant=work != "training",
        )

    return Placement(
        find_device(config.device),
        training=used("training", config.training),
        sampling=used("sampling", config.sampling),
        evaluation=used("evaluation", config.eval),
    )
