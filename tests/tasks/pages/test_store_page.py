"""The page of a whole store says of each run what a group wants to know, worst first."""

from __future__ import annotations

import base64
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dacapo_core.store.metadata_store import MetadataStore
from dacapo_core.store.records.run_overview import (
    BestNote,
    CheckpointsNote,
    DiskLevel,
    RunOverview,
    TrainingNote,
)
from tasks.pages.disk_use import summed_levels
from tasks.pages.store_page import StoreRun, condition, store_page
from tests.benchmarks.store_page import make, overview

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def trains(**values: object) -> TrainingNote:
    said = {
        "state": "training",
        "heard": NOW - timedelta(minutes=5),
        "iteration": 12_000,
        "num_iterations": 100_000,
        "seconds_left": 3600.0,
        "samples_per_second": 12.34,
        "waiting_share": 0.04,
        "flow_run": "a",
    }
    return TrainingNote.model_validate(said | values)


def run(name: str, flow_run_state: str | None = None, **values: object) -> StoreRun:
    return StoreRun(name, RunOverview(training=trains(**values)), flow_run_state)


def row(page: str, name: str) -> list[str]:
    lines = [line for line in page.splitlines() if re.match(rf"\| \[?{name}\b", line)]
    (line,) = lines
    return [cell.strip() for cell in line.strip("|").split("|")]


def order(page: str) -> list[str]:
    return re.findall(r"^\| \[?([a-z]\S*)", page.partition("## Runs")[2], flags=re.M)[1:]


def test_a_row_says_where_a_run_is_and_what_it_holds() -> None:
    overview = RunOverview(
        training=trains(),
        best=BestNote(dataset="held_out_0", criterion="f1_score", iteration=8000, score=0.9123),
        checkpoints=CheckpointsNote(
            kept=5,
            kept_bytes=5_000_000_000,
            marked=2,
            marked_bytes=2_000_000_000,
            last_pruned=NOW - timedelta(hours=1),
        ),
        pages={"report": "/v2/artifacts/artifact/1", "pruning": "/v2/artifacts/artifact/2"},
    )
    page = store_page("/runs", [StoreRun("mito", overview)], NOW)
    assert row(page, "mito") == [
        "[mito](/v2/artifacts/artifact/1)",
        "training",
        "12000 of 100000, 55 min 0 s left",
        "F1 score 0.912 at 8000 on held out 0",
        "12.3, 4% waiting",
        "[5 kept](/v2/artifacts/artifact/2), 2 marked, 7.0 GB",
        "Mar 01 11:00; next after its next validation",
    ]


def test_a_run_that_was_not_trained_here_leads_to_its_checkpoints() -> None:
    overview = RunOverview(pages={"report": "/1", "pruning": "/2"})
    page = store_page("/runs", [StoreRun("theirs", overview)], NOW)
    assert row(page, "theirs")[:2] == ["[theirs](/2)", "not trained here"]


def test_what_needs_attention_comes_first() -> None:
    page = store_page(
        "/runs",
        [
            run("done", state="complete"),
            StoreRun("of-dacapo", None),
            run("well"),
            run("hungry", waiting_share=0.5),
            run("broken", state="failed", why="ValueError: no data"),
            run("cancelled", state="stopped", why="the flow run is Cancelled"),
            run("silent", expected=NOW - timedelta(minutes=1)),
            run("gone", "Crashed"),
            run("again", "AwaitingRetry"),
        ],
        NOW,
    )
    assert order(page) == [
        *("broken", "gone", "silent", "again", "cancelled", "hungry", "well", "done"),
        "of-dacapo",
    ]
    assert row(page, "broken")[1] == "**failed** at iteration 12000: ValueError: no data"
    assert row(page, "gone")[1] == "**crashed** after iteration 12000"
    assert row(page, "hungry")[1] == "training, **short of data**"
    assert row(page, "again")[1] == "starts again (AwaitingRetry)"
    assert row(page, "of-dacapo")[1:] == ["not trained here", *["–"] * 5]


@pytest.mark.parametrize("name", ["Running", None])
def test_a_run_that_is_heard_of_trains(name: str | None) -> None:
    heard = run("r", name, expected=NOW + timedelta(minutes=1))
    assert condition(heard, NOW).words == "training"
    late = NOW + timedelta(hours=2)
    assert condition(heard, late).words == "**no word for 2 h 5 min**"


def test_the_top_says_what_is_on_disk_what_pruning_freed_and_what_can_be_restored() -> None:
    held = [
        CheckpointsNote(
            kept=3,
            kept_bytes=3_000_000,
            marked=1,
            marked_bytes=1_000_000,
            restorable_until=NOW + timedelta(days=days),
            pruned=10,
            freed_bytes=10_000_000,
            levels=[
                DiskLevel(time=NOW, on_disk=10_000_000, freed=0),
                DiskLevel(time=NOW + timedelta(days=1), on_disk=4_000_000, freed=10_000_000),
            ],
        )
        for days in (7, 3)
    ]
    runs = [
        StoreRun(name, RunOverview(checkpoints=each)) for name, each in zip("ab", held, strict=True)
    ]
    page = store_page("/runs", runs, NOW, NOW + timedelta(hours=14))
    assert "**8.0 MB on disk** in 8 checkpoints of 2 runs" in page
    assert "pruning has freed 20.0 MB, of 20 checkpoints" in page
    assert "next pruning of the whole store Mar 02 02:00 UTC" in page
    assert (
        "**2 marked checkpoints** (2.0 MB) can still be restored: b: 1 (1.0 MB) until Mar 04 12:00 "
        "UTC; a: 1 (1.0 MB) until Mar 08 12:00 UTC" in page
    )
    assert "`dacapo-store restore RUN ITERATION --store /runs`" in page
    (picture,) = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", page)
    svg = ElementTree.fromstring(base64.b64decode(picture))
    texts = [each.text for each in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"on disk", "without pruning", "20.0 MB"} <= set(texts)
    assert row(page, "a")[-1] == "never; next Mar 02 02:00"


def test_an_empty_store_has_a_page() -> None:
    page = store_page("/runs", [], NOW)
    assert "No run yet." in page
    assert "no pruning of the whole store is scheduled" in page


def test_the_levels_of_runs_add_up_at_each_time() -> None:
    def level(minute: int, on_disk: int, freed: int = 0) -> DiskLevel:
        return DiskLevel(time=NOW + timedelta(minutes=minute), on_disk=on_disk, freed=freed)

    summed = summed_levels([[level(0, 10), level(2, 5, 5)], [level(1, 7), level(2, 3, 4)]])
    assert summed == [level(0, 10), level(1, 17), level(2, 8, 9)]


def test_300_runs_of_1000_checkpoints_are_read_and_made_in_seconds_and_are_small(
    tmp_path: Path,
) -> None:
    store = MetadataStore(tmp_path)
    long = overview(0, 1000)
    for number in range(300):
        store.store_overview(f"mitochondria-and-er-{number:03}", long)
    began = time.perf_counter()
    page = make(store)
    assert time.perf_counter() - began < 10
    assert len(page.encode()) < 200_000
    assert len(order(page)) == 300
