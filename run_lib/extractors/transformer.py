"""Vision transformers of the transformers library, their weights read by our own loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from run_lib.extractors.needed import needed
from run_lib.extractors.weights import Weights, check_names
from run_lib.files import read_json


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and reports of the library's within the block: what is wrong is told by an error."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def configuration(path: Path, title: str, kind: str) -> dict[str, Any] | None:
    """The ``config.json`` beside a file of weights; None: there is none.

    Args:
        path: of the weights.
        title: of the network, for messages.
        kind: the ``model_type`` that it must state.

    Raises:
        ValueError: it is damaged, or another network's.
    """
    beside = path.with_name("config.json")
    if not beside.is_file():
        return None
    try:
        found = read_json(beside)
    except ValueError as error:
        raise ValueError(f"{beside} {error}; fetch it again.") from error
    if not isinstance(found, dict) or found.get("model_type") != kind:
        raise ValueError(f"{beside} describes no {title}: its model_type is not {kind!r}.")
    return found


def load(model: Any, config: Any, weights: Weights, title: str, ignored: Callable[[str], bool]) -> Any:
    """A network of the library's with the tensors of a file, and no others.

    Args:
        model: the network's class.
        config: of the class.
        weights: the file; the library translates the names of its earlier versions.
        title: of the network, for messages.
        ignored: which names of the file belong to other parts than this one.

    Raises:
        ValueError: names or shapes differ.
    """
    tensors = {name: value for name, value in weights.tensors.items() if not ignored(name)}
    with needed("transformers"), _quiet():
        found, said = model.from_pretrained(
            None, config=config, state_dict=tensors, output_loading_info=True, ignore_mismatched_sizes=True,
            dtype=torch.float32,
        )  # fmt: skip
    other = [name for name, *_ in said["mismatched_keys"]]
    check_names(weights.path, title, said["missing_keys"], said["unexpected_keys"], other)
    return found.requires_grad_(False).eval()


def normalised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Levels (B, 3, H, W) from 0 to 255, by channel: (level / 255 - mean) / std."""
    centre, scale = (torch.tensor(values, device=images.device)[:, None, None] for values in (mean, std))
    return (images / 255 - centre) / scale
