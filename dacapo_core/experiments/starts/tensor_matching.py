"""Matching the tensors of a checkpoint with a model's, by names, shapes and labels alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from dacapo_core.experiments.starts.head_matching import match_rows
from dacapo_core.experiments.starts.key_mapping import canonical_keys, is_head, is_row_tensor
from dacapo_core.experiments.starts.loading_report import (
    HeadRow,
    LoadingReport,
    Reinitialised,
    percentage,
)
from dacapo_core.experiments.starts.start_error import StartError

Shape = tuple[int, ...]

ROW_WEIGHT = "head.weight"


def match(
    source: Mapping[str, Shape],
    model: Mapping[str, Shape],
    *,
    source_labels: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    head_prefixes: Iterable[str] = (),
) -> LoadingReport:
    """What would be loaded from a checkpoint of `source` shapes into a model of `model` shapes.

    Args:
        source: key -> shape of the checkpoint's model, in any layout that `key_mapping` knows.
        model: key -> shape of the model's state dict, in any of them too.
        source_labels: labels of the checkpoint's head, None if unknown.
        labels: labels of the model's head, None if unknown.
        head_prefixes: what the model calls its head, if not one of the known names.

    Raises:
        StartError: copies of one tensor differ in shape, or labels do not fit their head.
    """
    prefixes = tuple(head_prefixes)
    source_keys = canonical_keys(source, prefixes)
    model_keys = canonical_keys(model, prefixes)
    for name, keys in source_keys.items():
        check_copies(name, keys, [source[key] for key in keys])
    rows, unused = _match_head(source_keys, model_keys, source, model, source_labels, labels)
    report = LoadingReport(head_rows=rows, unused_labels=unused)
    row_share = sum(row.source is not None for row in rows) / len(rows) if rows else 0.0

    wanted = {"body": 0, "head": 0}
    taken = {"body": 0.0, "head": 0.0}
    used = set()
    for name, keys in model_keys.items():
        shape = tuple(model[keys[0]])
        found = source_keys.get(name)
        source_shape = None if found is None else tuple(source[found[0]])
        part = "head" if is_head(name) else "body"
        wanted[part] += prod(shape)
        share, reason = _share_of(name, shape, source_shape, row_share)
        taken[part] += share * prod(shape)
        for key in keys:
            if share == 0:
                report.reinitialised[key] = Reinitialised(
                    shape=shape, source_shape=source_shape, reason=reason, head=part == "head"
                )
                continue
            if is_row_tensor(name):
                report.head_tensors[key] = shape
            if share == 1:
                report.loaded[key] = shape
            if found is not None and key not in found:
                report.renamed[key] = found[0]
        if share:
            used.add(name)
    for name, keys in source_keys.items():
        if name not in used:
            report.left_over.update({key: tuple(source[key]) for key in keys})
    total = wanted["body"] + wanted["head"]
    report.share_loaded = (taken["body"] + taken["head"]) / total if total else 0.0
    report.body_share_loaded = taken["body"] / wanted["body"] if wanted["body"] else 0.0
    return report


def check_report(report: LoadingReport) -> None:
    """Refuse a start that loads less of the body than the floor, or not all under "strict".

    Raises:
        StartError: says what is missing, and what to do.
    """
    missing = {key: kept for key, kept in report.reinitialised.items() if not kept.head}
    if report.body_share_loaded == 0 or report.body_share_loaded < report.floor:
        examples = [
            f"{key} {kept.shape} ({kept.reason}"
            + (f": {kept.source_shape} there)" if kept.source_shape else ")")
            for key, kept in list(missing.items())[:3]
        ]
        raise StartError(
            f"the checkpoint of {report.run}/{report.criterion} would fill "
            f"{percentage(report.body_share_loaded)} of the model's body, the floor is "
            f"{report.floor:.0%}: it is of another architecture. Not filled: "
            f"{'; '.join(examples)}{' …' if len(missing) > 3 else ''}. "
            f"Not used of it: {', '.join(list(report.left_over)[:3]) or 'nothing'}. Take the "
            "architecture that the checkpoint was trained with, or lower `floor`"
        )
    if report.policy == "strict":
        faults = [f"{key} is initialised anew" for key in report.reinitialised]
        faults += [f"channel {label} is new" for label in report.new_labels]
        faults += [f"{key} is not used" for key in report.left_over]
        if faults:
            raise StartError(
                f"policy 'strict' wants all of {report.run}/{report.criterion} and nothing else: "
                f"{'; '.join(faults[:5])}{' …' if len(faults) > 5 else ''}. "
                "Policy 'matching' takes what fits"
            )


def check_copies(name: str, keys: Sequence[str], values: Sequence[object]) -> None:
    """Refuse several copies of one tensor that differ."""
    for key, value in zip(keys[1:], values[1:], strict=True):
        if value != values[0]:
            raise StartError(
                f"the checkpoint holds {name} twice and the copies disagree: {keys[0]} "
                f"({values[0]}) and {key} ({value}); it is damaged"
            )


def _match_head(
    source_keys: Mapping[str, list[str]],
    model_keys: Mapping[str, list[str]],
    source: Mapping[str, Shape],
    model: Mapping[str, Shape],
    source_labels: Sequence[str] | None,
    labels: Sequence[str] | None,
) -> tuple[list[HeadRow], list[str]]:
    if ROW_WEIGHT not in model_keys:
        return [], []
    shape = model[model_keys[ROW_WEIGHT][0]]
    source_shape = source[source_keys[ROW_WEIGHT][0]] if ROW_WEIGHT in source_keys else None
    source_rows = None if source_shape is None else source_shape[0]
    rows = match_rows(source_labels, source_rows, labels, shape[0])
    if source_shape is None or tuple(source_shape[1:]) != tuple(shape[1:]):
        rows = [HeadRow(label=row.label, row=row.row, source=None) for row in rows]
    taken = {row.source for row in rows}
    unused = [label for row, label in enumerate(source_labels or ()) if row not in taken]
    return rows, unused


def _share_of(
    name: str, shape: Shape, source_shape: Shape | None, row_share: float
) -> tuple[float, str]:
    """How much of a tensor can be taken, and if nothing, why."""
    if source_shape is None:
        return 0.0, "not in the checkpoint"
    if is_row_tensor(name):
        if source_shape[1:] != shape[1:]:
            return 0.0, "shape differs"
        return row_share, "no channel matched by label"
    if source_shape != shape:
        return 0.0, "shape differs"
    return 1.0, ""
