"""Weights that do not fit, by what can be done about them.

The message is for a caller in Python; who knows another remedy says ``why`` and adds it.
"""

from __future__ import annotations


class AveragesError(ValueError):
    """A file has no averaged weights that can be used; it has raw ones.

    Args:
        why: a sentence.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Load the raw ones with ema=False.")
        self.why = why


class ArchitectureError(ValueError):
    """A file is of another network than the one that it is loaded into.

    Args:
        why: what does not fit, in whole sentences.
        remedy: of a caller in Python, likewise; empty: ``why`` says it.
    """

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why} {remedy}".rstrip())
        self.why = why
