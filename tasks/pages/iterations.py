"""Iterations in few words that name no iteration but these."""

from __future__ import annotations

from collections.abc import Sequence

MOST_PIECES = 12
SHORTEST_RANGE = 3


def shown_iterations(iterations: Sequence[int], most: int = MOST_PIECES) -> str:
    """``10``; ``10, 20``; ``10–90, every 10 (9)``; ``8, 24; 40–80, every 8 (6)``.

    A range says its step and holds each iteration at that step and no other. Of more than
    ``most`` numbers and ranges the rest is counted: `` and 97 more``.

    Args:
        iterations: in ascending order.
    """
    pieces = _pieces(iterations)
    shown = ""
    for before, piece in zip([(), *pieces], pieces[:most], strict=False):
        if before:
            shown += ", " if len(before) == len(piece) == 1 else "; "
        shown += _shown(piece)
    left = sum(len(piece) for piece in pieces[most:])
    return f"{shown} and {left} more" if left else shown


def _pieces(iterations: Sequence[int]) -> list[Sequence[int]]:
    """Neighbours at equal steps together, where there are enough of them for a range."""
    pieces: list[Sequence[int]] = []
    at = 0
    while at < len(iterations):
        end = _end_of_range(iterations, at)
        if end - at < SHORTEST_RANGE:
            end = at + 1
        pieces.append(iterations[at:end])
        at = end
    return pieces


def _end_of_range(iterations: Sequence[int], start: int) -> int:
    """Up to where, exclusive, the steps from ``start`` on are equal."""
    end = start + 2
    if end > len(iterations):
        return len(iterations)
    step = iterations[start + 1] - iterations[start]
    while end < len(iterations) and iterations[end] - iterations[end - 1] == step:
        end += 1
    return end


def _shown(piece: Sequence[int]) -> str:
    if len(piece) == 1:
        return str(piece[0])
    return f"{piece[0]}–{piece[-1]}, every {piece[1] - piece[0]} ({len(piece)})"
