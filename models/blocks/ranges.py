"""Ranges that settings of several networks share."""

from __future__ import annotations

from typing import Annotated

from sde_lib.ranges import Range

MOST_CHANNELS = 2**12
"""Of one layer: a 3x3 convolution of so many has 600 MB of weights."""

Channels = Annotated[int, Range(least=1, most=MOST_CHANNELS)]
Multiple = Annotated[int, Range(least=1, most=2**10)]
Multiples = Annotated[float, Range(above=0, most=2**10)]
Blocks = Annotated[int, Range(least=1, most=2**8)]
Heads = Annotated[int, Range(least=1, most=2**16)]
Resolution = Annotated[int, Range(least=1)]
Share = Annotated[float, Range(least=0, below=1)]
