"""Libraries of the metrics extra, which extractors ask for where they need them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed(library: str) -> Iterator[None]:
    """Have an import that fails within the block say what to install.

    Args:
        library: as its package is called.

    Raises:
        ValueError: the library is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"this extractor needs {library}, which cannot be imported ({error}): pip install 'score-pc[metrics]'."
        ) from error
