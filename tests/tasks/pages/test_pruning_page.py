"""The pruning page and table say what became of each checkpoint, and why."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.records.run_overview import checkpoints_note
from tasks.pages.checkpoint_history import disk_use, score_curves
from tasks.pages.checkpoint_ranges import MOST_ROWS
from tasks.pages.pruning_page import pruning_page
from tests.markdown_rows import markdown_rows

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
    rows = {
        row["iteration"]: row for row in markdown_rows(pruning_page("r", HISTORY, store_url="s"))
    }
    assert {"30", "20", "10"} <= rows.keys()
    gone = rows["10"]
    assert gone["fate"] == "pruned"
    assert gone["why"] == "not among the last 1"
    assert gone["by"] == "flow run a"
    assert gone["when"] == "2026-03-01 12:25:00 UTC"
    assert gone["score"] == "Dice 0.500"


def long_history(count: int, one_by_one: bool = False) -> list[CheckpointHistory]:
    """Every tenth checkpoint and the last are kept; the others went at once, or each in its turn.

    What a policy says of the place of each is different for each.
    """
    return [
        fate(100 * i, reasons=["multiple of 1000"])
        if i % 10 == 0 or i == count
        else fate(
            100 * i,
            "pruned",
            reasons=["no multiple of 1000", f"not among the best 3 of val/dice (place {i}, 0.5)"],
            pruned=START + timedelta(days=30, minutes=i if one_by_one else 0),
            pruned_by="flow run a",
            scores={"val/dice": i / count},
        )
        for i in range(1, count + 1)
    ]


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_long_history_still_says_why_each_is_gone(one_by_one: bool) -> None:
    history = long_history(MOST_ROWS + 100, one_by_one)
    page = pruning_page("long", history, store_url="s")
    rows = {row["iteration"]: row for row in markdown_rows(page)}
    gone = rows["4100–4900, every 100 (9)"]
    assert gone["fate"] == "pruned"
    assert gone["why"] == "no multiple of 1000; not among the best 3 by Dice on val"
    assert gone["by"] == "flow run a"
    last = "2026-03-31 12:49:00 UTC" if one_by_one else "2026-03-31 12:00:00 UTC"
    assert gone["when"].endswith(last)
    assert gone["score"] == "Dice 0.102–0.122"
    assert gone["size"] == "900 B"
    assert rows["4000"]["why"] == "multiple of 1000"
    assert "fate" not in rows["4000"]
    assert "| 4100–4900, every 100 (9) | pruned | no multiple of 1000; not among" in page


def test_the_page_grows_no_further_with_the_checkpoints_of_a_run() -> None:
    few = len(pruning_page("r", long_history(2 * MOST_ROWS), store_url="s"))
    for one_by_one in (False, True):
        history = long_history(20_000, one_by_one)
        assert len(pruning_page("r", history, store_url="s")) < 3 * few
    # no two neighbours have the same reasons: the oldest are counted, and where to look is said
    history = [fate(i, "pruned", reasons=[f"reason {i}"]) for i in range(MOST_ROWS + 7)]
    page = pruning_page("r", history, store_url="s")
    assert "… and 7 older ones: `dacapo-store why r ITERATION` tells of each." in page


def test_the_strip_and_the_curves_of_a_long_history_show_what_is_kept_and_best() -> None:
    history = long_history(5000)
    history[1234] = fate(123_500, best_for=["val/dice"], scores={"val/dice": 2.0})
    strip, scores, _ = pictures(pruning_page("r", history, store_url="s"))
    boxes = list(strip.iter("{http://www.w3.org/2000/svg}rect"))
    assert 300 < len(boxes) < 400
    assert "★" in texts(strip)
    assert "★" in texts(scores)


def test_a_row_says_until_when_a_marked_one_can_be_restored() -> None:
    until = START + timedelta(days=7)
    marked = fate(10, "marked", reasons=["r"], pruned=START, restorable_until=until)
    page = pruning_page("r", [marked], store_url="s")
    assert "| 10 | marked, restorable until 2026-03-08 12:00 UTC | r |" in page


def test_a_flow_run_that_pruned_is_a_link_to_its_page() -> None:
    id = "1232a2d7-8cb7-4139-9c7c-ca33994ea843"
    gone = [
        fate(10, "pruned", reasons=["r"], pruned=START, pruned_by=f"flow run prune a, b ({id})"),
        fate(20, "pruned", reasons=["r"], pruned=START, pruned_by="me on host"),
    ]
    page = pruning_page("r", gone, store_url="s")
    assert f"| [prune a, b](/v2/runs/flow-run/{id}) |" in page
    assert "| me on host |" in page


def test_the_score_column_is_short() -> None:
    scores = {"a/dice": 0.5, "b/dice": 0.7, "a/voi": 1.0, "a/jaccard": 0.4, "a/mito__dice": 0.1}
    page = pruning_page("r", [fate(10, "pruned", reasons=["r"], scores=scores)], store_url="s")
    assert "| 10 | pruned | r | Dice 0.600 · Jaccard 0.400 |" in page


def test_what_many_criteria_say_is_said_once() -> None:
    reasons = [
        "latest",
        *(f"place {i} of the best 2 of {name} (0.5)" for i, name in ((1, "a/dice"), (2, "a/voi"))),
        "not among the best 2 of a/f1 (place 3, 0.5)",
        "not among the best 2 of b/f1 (place 4, 0.5)",
        "no score of b/voi",
        *(
            f"not among the best 3 of a/{name} (place 4, 0.5)"
            for name in ("er__f1", "f1", "pm__f1")
        ),
        "not among the best 4 of a/er__f1 (place 5, 0.5)",
    ]
    (row,) = markdown_rows(pruning_page("r", [fate(1, reasons=reasons)], store_url="s"))
    assert row["why"] == (
        "latest; among the best 2 by Dice and VOI on a; not among the best 2 by F1 on a, F1 on b; "
        "no score by VOI on b; not among the best 3 by F1 on a and 2 of single channels; "
        "not among the best 4 by F1 of er on a"
    )


def test_the_page_shows_strip_scores_and_disk_use_as_whole_pictures() -> None:
    page = pruning_page("a run", HISTORY, store_url="/data/runs")
    strip, scores, disk = pictures(page)
    assert {"10", "20", "30", "★"} <= set(texts(strip))
    assert {"all channels", "★"} <= set(texts(scores))
    assert "200 B" in texts(disk)
    assert "| val | all channels | Dice coefficient | 20 | 0.900 |" in page
    when = "2026-03-01 12:25:00 UTC"
    assert f"| 10 | pruned | not among the last 1 | Dice 0.500 | {when} | flow run a |" in page
    assert "`dacapo-store restore 'a run' ITERATION --store /data/runs`" in page
    order = ["## Marked and pruned", "## Can I have one back?", "## Kept", "## Best", "## Scores"]
    assert [page.index(each) for each in order] == sorted(page.index(each) for each in order)
    assert "`dacapo-store unpin 'a run' ITERATION --store /data/runs`" in page


def test_names_cannot_break_table_or_picture() -> None:
    key = "x/<y__dice"
    odd = [fate(1, reasons=["a|b <c>"], best_for=[key], scores={key: 0.1})]
    page = pruning_page("odd", odd, store_url="s")
    assert "a\\|b" in page
    assert "<y" in texts(pictures(page)[1])


def test_a_run_without_checkpoints_has_a_page() -> None:
    page = pruning_page("new", [], store_url="s")
    assert "Nothing has been scored yet." in page
    assert len(pictures(page)) == 2


def test_disk_use_rises_with_stores_and_falls_with_prunes() -> None:
    assert [size for _, size in disk_use(HISTORY)] == [100, 200, 100, 200]
    held = checkpoints_note(HISTORY)
    assert (held.kept_bytes, held.freed_bytes) == (200, 100)


def test_disk_use_leaves_out_what_is_unknown() -> None:
    assert disk_use([fate(1, size=None), fate(2, stored=None)]) == []


def test_score_curves_are_in_order_of_iteration() -> None:
    assert score_curves(HISTORY[::-1]) == {"val/dice": [(10, 0.5), (20, 0.9), (30, 0.8)]}
