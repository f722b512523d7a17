"""The classes that a file of weights knows by name."""

from __future__ import annotations

from pathlib import Path

from run_lib.training.state import is_ours, read_checkpoint


def classes_of(path: Path) -> tuple[str, ...]:
    """Names of the classes that a checkpoint of ours knows, in the order of their labels; none of any other file.

    Raises:
        DamagedCheckpointError: it is truncated or altered.
    """
    if path.suffix != ".pt" or not is_ours(path.resolve()):
        return ()
    return tuple(read_checkpoint(path).get("classes", ()))
