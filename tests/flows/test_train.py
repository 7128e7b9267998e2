"""The train flow: what it leaves in the store, and how it goes on from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.errors import LeaseHeldError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from flows.train import train
from tasks.begin_run import RunConfigChangedError, check_unchanged

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

LAST_ONE = RetentionPolicy(keep_last=1)


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(file.relative_to(folder)): (file.stat().st_size, file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file() and "lease" not in file.parts
    }


def newest_artifact(key: str) -> str:
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    assert found, f"no artifact {key}"
    return str(max(found, key=lambda each: each.created).data)


def test_a_policy_that_does_not_fit_yet_prunes_nothing_and_stops_nothing(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    summary = train(tiny, str(tmp_path), RetentionPolicy(keep_every=1000))
    assert set(summary.kept) == {2, 4, 6} == set(LocalWeightsStore(tmp_path).iterations("tiny"))
    assert not summary.pruned


def test_a_run_is_trained_judged_and_pruned_and_then_complete(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    first = train(tiny, str(tmp_path), LAST_ONE)
    store = LocalWeightsStore(tmp_path)

    best = {record.iteration for record in store.best_records("tiny").values()}
    assert best
    assert set(store.iterations("tiny")) == {6} | best == set(first.kept)
    assert {record.iteration for record in store.scores("tiny")} == {2, 4, 6}
    assert set(first.kept) | set(first.pruned) == {2, 4, 6}
    for iteration in store.iterations("tiny"):
        store.verify("tiny", iteration)
    assert store.run_config("tiny") == tiny.model_dump(mode="json")
    assert [stats["iteration"] for stats in store.training_stats("tiny")] == [
        [1, 2],
        [3, 4],
        [5, 6],
    ]
    assert "complete at iteration 6" in str(first)

    page = newest_artifact("pruning-tiny")
    assert "# Checkpoints of tiny" in page
    assert "data:image/svg+xml;base64," in page
    assert "iteration 6 of 6" in newest_artifact("report-tiny")

    before = files(tmp_path)
    again = train(tiny, str(tmp_path), LAST_ONE)
    assert again.was_complete
    assert "nothing to do" in str(again)
    assert again.kept == first.kept
    assert files(tmp_path) == before


def test_a_finished_run_can_be_extended_and_nothing_else_changed(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    short = tiny.model_copy(update={"num_iterations": 2})
    train(short, str(tmp_path), LAST_ONE)
    longer = train(tiny.model_copy(update={"num_iterations": 4}), str(tmp_path), LAST_ONE)
    assert longer.began_at == 2
    assert 4 in longer.kept
    with pytest.raises(RunConfigChangedError, match=r"learning_rate: 0\.008 → 0\.5"):
        train(tiny.model_copy(update={"learning_rate": 0.5}), str(tmp_path), LAST_ONE)
    assert LocalWeightsStore(tmp_path).latest_iteration("tiny") == 4


def test_fewer_iterations_than_stored_are_refused(tiny: RunConfig) -> None:
    with pytest.raises(RunConfigChangedError, match="num_iterations: 6 → 5"):
        check_unchanged(tiny.model_copy(update={"num_iterations": 5}), tiny)


def test_a_run_that_another_process_trains_is_refused_and_says_who(
    prefect_server: str, tmp_path: Path, tiny: RunConfig, other_trainer: None
) -> None:
    with pytest.raises(LeaseHeldError, match="the other trainer"):
        train(tiny, str(tmp_path), LAST_ONE)
    assert LocalWeightsStore(tmp_path).iterations("tiny") == []


@pytest.fixture
def other_trainer(tmp_path: Path) -> Iterator[None]:
    """Another process that holds the lease of the run."""
    import subprocess
    import sys

    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from dacapo_core.store.local_weights_store import LocalWeightsStore\n"
            "with LocalWeightsStore(sys.argv[1]).lease('tiny', owner='the other trainer'):\n"
            "    print('held', flush=True); sys.stdin.read()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield
    holder.communicate("")
