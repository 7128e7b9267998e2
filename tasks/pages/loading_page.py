"""What a run loaded from its start, as a page."""

from __future__ import annotations

from dacapo_core.experiments.starts.loading_report import LoadingReport, percentage
from tasks.pages.formatting import markdown_table

MOST_ROWS = 100


def loading_page(run: str, report: LoadingReport) -> str:
    """The report as markdown: shares, the head channel by channel, and what was not loaded."""
    named = report.named()
    if report.weights == "average":
        named += ", the moving average of its weights"
    parts = [
        f"# Start of {run}",
        f"From **{named}** in `{report.store_url}`: **{percentage(report.share_loaded)}** of the "
        f"parameters loaded, {percentage(report.body_share_loaded)} of the body "
        f"(at least {report.floor:.0%} was asked for). {len(report.loaded)} tensors whole, "
        f"{len(report.renamed)} of them under other names.",
        "## Head",
        _head_table(report),
        "## Kept at initialisation",
        _initialised_table(report),
        "## Not used",
        _not_used(report),
        "The honest proof of a matched head is the score before the first step: iteration 0 in "
        "the run's report.",
    ]
    return "\n\n".join(parts)


def _head_table(report: LoadingReport) -> str:
    if not report.head_rows:
        return "No head was recognised."
    table = markdown_table(
        ["row", "channel", "from"],
        [
            (
                row.row,
                row.label or "–",
                "initialised anew" if row.source is None else f"row {row.source}",
            )
            for row in report.head_rows
        ],
    )
    summary = report.head_summary()
    return f"{summary[0].upper()}{summary[1:]}.\n\n{table}"


def _not_used(report: LoadingReport) -> str:
    """Channels and tensors of the checkpoint that the model has no place for."""
    tensors = [f"`{key}`" for key in report.left_over]
    more = f" and {len(tensors) - MOST_ROWS} more" if len(tensors) > MOST_ROWS else ""
    parts = []
    if report.unused_labels:
        parts.append(f"Channels of the checkpoint: {', '.join(report.unused_labels)}.")
    if tensors:
        parts.append(f"Tensors of the checkpoint: {', '.join(tensors[:MOST_ROWS])}{more}.")
    return " ".join(parts) or "Nothing."


def _initialised_table(report: LoadingReport) -> str:
    rows: list[tuple[str, str, str, str]] = []
    # of a head that is not loaded by rows the tensors are listed, whole
    if report.head_tensors:
        rows += [
            (f"head row {row.row}: {row.label or '–'}", "–", "–", row.why_new)
            for row in report.head_rows
            if row.source is None
        ]
    rows += [
        (f"`{key}`", _shape(kept.shape), _shape(kept.source_shape), kept.reason)
        for key, kept in report.reinitialised.items()
    ]
    if not rows:
        return "Nothing."
    return markdown_table(["tensor", "shape", "in the checkpoint", "why"], rows[:MOST_ROWS])


def _shape(shape: tuple[int, ...] | None) -> str:
    return "–" if shape is None else "×".join(str(size) for size in shape)
