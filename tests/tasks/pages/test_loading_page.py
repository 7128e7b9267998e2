"""The page of what a run loaded from its start."""

from __future__ import annotations

from dacapo_core.experiments.starts.loading_report import HeadRow, LoadingReport
from tasks.pages.loading_page import loading_page


def section(page: str, title: str) -> str:
    return page.split(f"## {title}\n\n")[1].split("\n\n")[0]


def test_a_new_channel_of_a_large_network_is_not_lost_in_rounding() -> None:
    rows = [HeadRow(label="ves", row=0, source=None), HeadRow(label="pm", row=1, source=3)]
    shapes = {"prediction_head.weight": (2, 12, 1, 1, 1), "prediction_head.bias": (2,)}
    report = LoadingReport(
        head_rows=rows, head_tensors=shapes, share_loaded=1 - 13 / 235e6, body_share_loaded=1
    )
    page = loading_page("r", report)
    assert "**99.9%** of the parameters loaded, 100.0% of the body" in page
    kept = section(page, "Kept at initialisation")
    assert "| head row 0: ves | – | – | no such channel in the checkpoint |" in kept
    assert "pm" not in kept


def test_nothing_is_kept_where_all_was_loaded() -> None:
    report = LoadingReport(
        head_rows=[HeadRow(label="pm", row=0, source=0)], share_loaded=1, body_share_loaded=1
    )
    page = loading_page("r", report)
    assert "**100.0%** of the parameters loaded" in page
    assert section(page, "Kept at initialisation") == "Nothing."


def test_the_page_and_the_log_say_the_same_of_what_was_not_used() -> None:
    report = LoadingReport(
        head_rows=[HeadRow(label="pm", row=0, source=1), HeadRow(label="ves", row=1, source=None)],
        unused_labels=["mito_mem", "er"],
        left_over={"extra.weight": (2, 3)},
        share_loaded=0.999,
        body_share_loaded=1,
    )
    page, log = loading_page("r", report), report.summary()
    said = "pm 1→0; new: ves; not used: mito_mem, er"
    assert said in log
    assert said in page
    assert "tensors not used: extra.weight" in log
    assert section(page, "Not used") == (
        "Channels of the checkpoint: mito_mem, er. Tensors of the checkpoint: `extra.weight`."
    )
    rows = [(row["what"], row["tensor"]) for row in report.table() if row["what"] == "not used"]
    assert rows == [
        ("not used", "channel mito_mem"),
        ("not used", "channel er"),
        ("not used", "extra.weight"),
    ]


def test_nothing_was_not_used_where_all_of_the_checkpoint_was() -> None:
    report = LoadingReport(head_rows=[HeadRow(label="pm", row=0, source=0)], share_loaded=1)
    assert section(loading_page("r", report), "Not used") == "Nothing."
    assert "not used" not in report.summary()
