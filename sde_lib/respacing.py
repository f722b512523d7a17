"""Which of a chain's levels a shorter chain keeps (Nichol & Dhariwal 2021, section 4)."""

from __future__ import annotations


def kept_levels(num_levels: int, respacing: str) -> list[int]:
    """The levels that a respacing keeps, ascending.

    Args:
        num_levels: of the chain.
        respacing: ``"N"``: N levels spread evenly from the first to the last, rounded; ``"a,b,c"``: the chain
            cut into equal sections, so many levels of each; ``"ddimN"``: every k-th level from the first,
            for the k that keeps exactly N (Song et al. 2021, DDIM, appendix D.2).

    Raises:
        ValueError: not of these forms, a section of too few levels, or no stride that keeps N.
    """
    if respacing.startswith("ddim"):
        return _strided(num_levels, respacing)
    counts = [_count(part, respacing) for part in respacing.split(",")]
    size, extra = divmod(num_levels, len(counts))
    kept: list[int] = []
    start = 0
    for i, count in enumerate(counts):
        length = size + (i < extra)
        if count > length:
            raise ValueError(
                f"respacing {respacing!r} takes {count} levels from a section of {length}: the chain's "
                f"{num_levels} "
                f"levels make {len(counts)} section{'s' if len(counts) > 1 else ''}. Take at most "
                f"{length} there."
            )
        kept += [start + level for level in _spread(length, count)]
        start += length
    return kept


def _count(part: str, respacing: str) -> int:
    if not part.strip().isdecimal() or int(part) < 1:
        raise ValueError(
            f"respacing {respacing!r} is none of 'N', 'a,b,c' and 'ddimN' with positive whole numbers, "
            f"such as '250', '10,15,20' or 'ddim50'."
        )
    return int(part)


def _spread(length: int, count: int) -> list[int]:
    """``count`` of ``range(length)``, the first and the last among them."""
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    position, taken = 0.0, []
    for _ in range(count):
        # Added up, not multiplied, and rounded half to even: published samples were drawn at these levels.
        taken.append(round(position))
        position += stride
    return taken


def _strided(num_levels: int, respacing: str) -> list[int]:
    count = _count(respacing.removeprefix("ddim"), respacing)
    stride = -(-num_levels // count)  # the only candidate is the smallest stride that keeps no more
    if len(range(0, num_levels, stride)) != count:
        reachable = sorted({len(range(0, num_levels, k)) for k in range(1, num_levels + 1)})
        near = sorted(reachable, key=lambda n: abs(n - count))[:2]
        raise ValueError(
            f"respacing {respacing!r}: no stride keeps exactly {count} of {num_levels} levels; the "
            f"nearest that "
            f"divide are {' and '.join(f'ddim{n}' for n in sorted(near))}. Or take '{count}', evenly spread."
        )
    return list(range(0, num_levels, stride))
