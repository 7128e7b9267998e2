"""The pruning page and table say what became of each checkpoint, and why."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from dacapo_core.store.records.history import CheckpointHistory
from tasks.pages.checkpoint_history import disk_use, score_curves, total_bytes
from tasks.pages.pruning_page import MOST_ROWS, pruning_page, pruning_table

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def fate(iteration: int, what: str = "kept", **values: object) -> CheckpointHistory:
    known = {"size": 100, "stored": START + timedelta(minutes=iteration)} | values
    return CheckpointHistory(iteration, what, **known)  # type: ignore[arg-type]


HISTORY = [
    fate(
        10,
        "pruned",
        reasons=["not among the last 1"],
        pruned=START + timedelta(minutes=25),
        pruned_by="flow run a",
        scores={"val/dice": 0.5},
    ),
    fate(20, reasons=["best of val/dice"], best_for=["val/dice"], scores={"val/dice": 0.9}),
    fate(30, reasons=["latest"], scores={"val/dice": 0.8}),
]


def pictures(page: str) -> list[ElementTree.Element]:
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", page)
    return [ElementTree.fromstring(base64.b64decode(each)) for each in found]


def texts(picture: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_a_table_row_answers_why_a_checkpoint_is_gone() -> None:
    rows = pruning_table(HISTORY, START + timedelta(minutes=60))
    assert [row["iteration"] for row in rows] == ["30", "20", "10"]
    gone = rows[-1]
    assert gone["fate"] == "pruned"
    assert gone["why"] == "not among the last 1"
    assert gone["by"] == "flow run a"
    assert gone["pruned"] == "2026-03-01 12:25:00 UTC"
    assert gone["age"] == "50 min 0 s"
    assert gone["scores"] == "val/dice 0.500"


def test_a_long_table_shows_every_kept_one_and_counts_the_rest() -> None:
    history = [fate(i, "kept" if i < 5 else "pruned") for i in range(1, MOST_ROWS + 101)]
    rows = pruning_table(history, START)
    assert {"1", "2", "3", "4"} <= {row["iteration"] for row in rows}
    assert len(rows) == MOST_ROWS + 1
    assert rows[-1]["why"] == "100 older ones not shown"


def test_the_page_shows_strip_scores_and_disk_use_as_whole_pictures() -> None:
    page = pruning_page("a run", HISTORY, store_url="/data/runs")
    strip, scores, disk = pictures(page)
    assert {"10", "20", "30", "★"} <= set(texts(strip))
    assert {"val/dice", "★"} <= set(texts(scores))
    assert "200 B" in texts(disk)
    assert "| val/dice | 20 | 0.900 |" in page
    assert "| 10 | pruned | 2026-03-01 12:25:00 UTC | flow run a | not among the last 1 |" in page
    assert "dacapo-store restore a run ITERATION" in page


def test_names_cannot_break_table_or_picture() -> None:
    odd = [fate(1, reasons=["a|b <c>"], best_for=["x<y/dice"], scores={"x<y/dice": 0.1})]
    page = pruning_page("odd", odd, store_url="s")
    assert "a\\|b" in page
    assert "x<y/dice" in texts(pictures(page)[1])


def test_a_run_without_checkpoints_has_a_page() -> None:
    page = pruning_page("new", [], store_url="s")
    assert "Nothing has been scored yet." in page
    assert len(pictures(page)) == 2


def test_disk_use_rises_with_stores_and_falls_with_prunes() -> None:
    assert [size for _, size in disk_use(HISTORY)] == [100, 200, 100, 200]
    assert total_bytes(HISTORY, "kept") == 200
    assert total_bytes(HISTORY, "pruned") == 100


def test_disk_use_leaves_out_what_is_unknown() -> None:
    assert disk_use([fate(1, size=None), fate(2, stored=None)]) == []


def test_score_curves_are_in_order_of_iteration() -> None:
    assert score_curves(HISTORY[::-1]) == {"val/dice": [(10, 0.5), (20, 0.9), (30, 0.8)]}
