"""A list of iterations on a page is short and names none that is not in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.pages.iterations import shown_iterations


@pytest.mark.parametrize(
    ("iterations", "shown"),
    [
        ([], ""),
        ([10], "10"),
        ([10, 20], "10, 20"),
        ([10, 20, 30], "10–30, every 10 (3)"),
        ([10, 20, 50], "10, 20, 50"),
        ([8, 16, 40, 48, 56], "8, 16; 40–56, every 8 (3)"),
        ([8, 24, 40, 48, 56, 99], "8–40, every 16 (3); 48, 56, 99"),
        ([1, 2, 3, 10, 20, 30], "1–3, every 1 (3); 10–30, every 10 (3)"),
    ],
)
def test_equal_steps_are_a_range_and_others_are_named(iterations: list[int], shown: str) -> None:
    assert shown_iterations(iterations) == shown


def named(shown: str) -> list[int]:
    """The iterations that a text names."""
    found = []
    for piece in re.findall(r"\d+–\d+, every \d+ \(\d+\)|\d+", shown):
        if span := re.fullmatch(r"(\d+)–(\d+), every (\d+) \((\d+)\)", piece):
            first, last, step, count = map(int, span.groups())
            members = list(range(first, last + 1, step))
            assert len(members) == count
            found += members
        else:
            found.append(int(piece))
    return found


@given(st.sets(st.integers(0, 60)), st.integers(1, 8))
def test_what_is_named_is_what_there_is_and_the_rest_is_counted(
    iterations: set[int], most: int
) -> None:
    ordered = sorted(iterations)
    shown, _, left = shown_iterations(ordered, most).partition(" and ")
    found = named(shown)
    assert found == ordered[: len(found)]
    assert len(found) + int(left.removesuffix(" more") or 0) == len(ordered)
