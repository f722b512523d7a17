"""Correctors by name. Importing this package registers ours."""

from samplers.correctors import ald, langevin, none

__all__ = ["ald", "langevin", "none"]
