"""``python tests/benchmarks/store_page.py``: the page of a store of 300 runs of 1,000 checkpoints.

Prints what it costs to bring a run's overview to what it holds, and to make the page from one
small read a run: seconds and bytes. On the file system of the temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dacapo_core.store.metadata_store import MetadataStore
from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.records.run_overview import (
    BestNote,
    RunOverview,
    TrainingNote,
    checkpoints_note,
)
from tasks.pages.store_page import StoreRun, store_page

RUNS, CHECKPOINTS = 300, 1000
MOST_SECONDS, MOST_BYTES = 10.0, 200_000
START = datetime(2026, 3, 1, tzinfo=UTC)


def history(run: int, count: int) -> list[CheckpointHistory]:
    """Checkpoints of a run that began an hour after the one before: a twentieth is kept."""
    began = START + timedelta(hours=run)
    return [
        CheckpointHistory(
            1000 * number,
            "kept" if number % 20 == 0 else "marked" if number > count - 10 else "pruned",
            size=400_000_000 + run,
            stored=began + timedelta(minutes=5 * number),
            pruned=began + timedelta(minutes=5 * number + 20, seconds=run),
            restorable_until=began + timedelta(days=14) if number > count - 10 else None,
        )
        for number in range(1, count + 1)
    ]


def overview(run: int, count: int) -> RunOverview:
    """As long as one gets: with all that it may say."""
    training = TrainingNote(
        state=("training", "complete", "stopped", "failed")[run % 4],  # type: ignore[arg-type]
        heard=START + timedelta(days=30),
        iteration=1000 * count,
        num_iterations=2_000_000,
        expected=START + timedelta(days=40),
        seconds_left=1e5,
        samples_per_second=12.345,
        waiting_share=0.031,
        flow_run=f"{run:032x}",
        why="ValueError: the volume of which a whole sentence is told has no voxels at all",
    )
    artifact = f"/v2/artifacts/artifact/aaaaaaaa-bbbb-4ccc-8ddd-{run:012x}"
    return RunOverview(
        training=training,
        best=BestNote(dataset="held_out_0", criterion="f1_score", iteration=7000, score=0.9),
        checkpoints=checkpoints_note(history(run, count)),
        pages={"report": artifact, "pruning": artifact},
    )


def fill(folder: Path, runs: int = RUNS, checkpoints: int = CHECKPOINTS) -> MetadataStore:
    """A store that holds the overviews of that many runs, and no checkpoint that could be listed"""
    store = MetadataStore(folder)
    for run in range(runs):
        store.store_overview(f"mitochondria-and-er-{run:03}", overview(run, checkpoints))
    return store


def make(store: MetadataStore) -> str:
    """The page from what the store has."""
    runs = [StoreRun(run, each, "Running") for run, each in store.overviews().items()]
    return store_page(store.basedir, runs, START + timedelta(days=31), START + timedelta(days=32))


def main() -> int:
    """Measure; exits with 1 when the page takes longer, or is larger, than it may be."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        store = fill(Path(folder))
        filled = time.perf_counter()
        page = make(store)
        seconds, size = time.perf_counter() - filled, len(page.encode())
        small = sum(file.stat().st_size for file in Path(folder).rglob("overview.json")) / RUNS
    print(f"an overview from {CHECKPOINTS} checkpoints: {(filled - began) / RUNS * 1e3:.1f} ms")
    print(f"an overview in the store: {small:.0f} bytes")
    print(f"the page of {RUNS} runs: {seconds:.2f} s (at most {MOST_SECONDS:.0f})")
    print(f"the page of {RUNS} runs: {size / 1e3:.0f} kB (at most {MOST_BYTES / 1e3:.0f})")
    return int(seconds > MOST_SECONDS or size > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
