"""The laws of matching heads by label."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dacapo_core.experiments.starts.head_matching import match_rows

LABELS = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)


@given(LABELS, LABELS)
def test_each_row_comes_from_the_row_of_its_label_or_from_none(
    old: list[str], new: list[str]
) -> None:
    rows = match_rows(old, len(old), new, len(new))
    assert [(row.label, row.row) for row in rows] == list(zip(new, range(len(new)), strict=True))
    for row in rows:
        if row.label in old:
            assert row.source is not None
            assert old[row.source] == row.label
        else:
            assert row.source is None


@given(LABELS, st.integers(1, 8), st.booleans())
def test_without_labels_on_one_side_nothing_is_matched(
    labels: list[str], rows: int, old_known: bool
) -> None:
    matched = (
        match_rows(labels, len(labels), None, rows)
        if old_known
        else match_rows(None, rows, labels, len(labels))
    )
    assert all(row.source is None for row in matched)


@given(st.integers(1, 8), st.integers(1, 8))
def test_without_any_labels_a_head_is_taken_whole_or_not_at_all(old: int, new: int) -> None:
    matched = match_rows(None, old, None, new)
    assert [row.source for row in matched] == (list(range(new)) if old == new else [None] * new)
