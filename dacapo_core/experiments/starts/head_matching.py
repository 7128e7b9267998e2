"""Matching the rows of two heads, the output channels: by label, never by position."""

from __future__ import annotations

from collections.abc import Sequence

from dacapo_core.experiments.starts.loading_report import HeadRow
from dacapo_core.experiments.starts.start_error import StartError


def match_rows(
    source_labels: Sequence[str] | None,
    source_rows: int | None,
    labels: Sequence[str] | None,
    rows: int,
) -> list[HeadRow]:
    """For each row of the new head, in its order, the row of the old head that it is copied from.

    Without labels on either side a head of the same number of rows is taken as it is; with labels
    on one side only, or of other lengths, nothing is matched.

    Args:
        source_labels: labels of the checkpoint's head, None if unknown.
        source_rows: rows of the checkpoint's head, None if it has none.
        labels: labels of the model's head, None if unknown.
        rows: rows of the model's head.

    Raises:
        StartError: labels twice, or not as many as rows.
    """
    check_labels("the model's head", labels, rows)
    if source_rows is not None:
        check_labels("the checkpoint's head", source_labels, source_rows)
    names: Sequence[str | None] = labels or [None] * rows
    if not source_labels and not labels and source_rows == rows:
        return [HeadRow(label=None, row=row, source=row) for row in range(rows)]
    found = {label: row for row, label in enumerate(source_labels or ())}
    if source_rows is None or not labels:
        found = {}
    return [
        HeadRow(label=label, row=row, source=None if label is None else found.get(label))
        for row, label in enumerate(names)
    ]


def check_labels(whose: str, labels: Sequence[str] | None, rows: int) -> None:
    """Refuse labels that do not name each row exactly once."""
    if not labels:
        return
    twice = sorted({label for label in labels if list(labels).count(label) > 1})
    if twice:
        raise StartError(f"the labels of {whose} name {', '.join(twice)} twice: {list(labels)}")
    if len(labels) != rows:
        raise StartError(
            f"{whose} has {rows} output channel{'s' if rows != 1 else ''} but {len(labels)} "
            f"label{'s' if len(labels) != 1 else ''}: {list(labels)}"
        )
