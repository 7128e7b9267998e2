"""The prune flow over a store: which runs, what a dry run does, and what a failure does."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from flows.embedded_prefect import send_what_is_queued
from flows.prune import PruningFailedError, grouped, prune
from flows.train import train
from flows.validate import validate
from tasks.prune import prune as prune_run
from tasks.remove import remove
from tasks.restore import restore
from tasks.runtime.artifacts import publisher
from tasks.sweep import sweep
from tests.deployments.site import wait_for
from tests.markdown_rows import markdown_rows

LAST_ONE = RetentionPolicy(keep_last=1)
NO_TIME = RetentionPolicy(keep_last=1, grace=timedelta(microseconds=1))


@pytest.fixture
def store(tmp_path: Path) -> LocalWeightsStore:
    """Two runs of three small checkpoints each."""
    store = LocalWeightsStore(tmp_path)
    for name in ("one", "two"):
        fill(store, name)
    return store


def fill(store: LocalWeightsStore, name: str) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters())
    for iteration in (10, 20, 30):
        run = SimpleNamespace(name=name, model=model, optimizer=optimizer)
        store.store_weights(run, iteration)


def mark_past_grace(store: LocalWeightsStore, *runs: str) -> None:
    """Mark 10 and 20, with a grace period that is over."""
    for run in runs:
        assert list(store.prune(run, NO_TIME).pruned) == [10, 20]


def shown(key: str) -> str:
    """The newest version of a page or table."""
    artifact = Artifact.get(key)
    assert artifact is not None
    return str(artifact.data)


def events(run: str, what: str, count: int) -> list[dict[str, Any]]:
    """The events of a kind about a run, as soon as there are that many."""
    wanted = {"filter": {"resource": {"id": [f"dacapo.run.{run}"]}, "order": "ASC"}}
    send_what_is_queued()
    with get_client(sync_client=True) as client:

        def found() -> list[dict[str, Any]]:
            every = client.request("POST", "/events/filter", json=wanted).json()["events"]
            of_kind = [e for e in every if e["event"] == f"dacapo.checkpoint.{what}"]
            return of_kind if len(of_kind) >= count else []

        return list(wait_for(f"{count} events {what}", 30, found))


@pytest.mark.slow
@pytest.mark.prefect
def test_a_dry_run_says_what_the_real_one_does_and_does_nothing(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    url = str(store.basedir)
    state = prune("*", LAST_ONE, True, url, return_state=True)
    planned = state.result()
    assert store.iterations("one") == store.iterations("two") == [10, 20, 30]
    said = (
        r"2 runs: rehearsal, nothing was touched: 4 would be pruned, .* kB would be freed, 2 would"
    )
    assert re.search(said, str(state.message))
    assert re.search(said, shown("pruning-summary"))
    page = shown("prune-plan-one")
    assert page.startswith("# Rehearsal: what pruning would do to one; nothing was touched\n\n")
    assert "\n\n**Rehearsal, nothing was touched: 2 would be pruned" in page
    gone, kept = page.split("## Would be kept")
    assert {row["iteration"] for row in markdown_rows(gone)} == {"10", "20"}
    assert {row["iteration"] for row in markdown_rows(kept)} == {"30"}
    rehearsed = events("one", "rehearsed", 1)[-1]
    assert rehearsed["resource"]["prefect.resource.name"].startswith(
        "one: rehearsal, nothing was touched: 10, 20 would be pruned, "
    )
    logged(state.state_details.flow_run_id, "one: rehearsal, nothing was touched: 2 would be")

    state = prune(["*"], LAST_ONE, store=url, return_state=True)
    assert state.result() == planned == {"one": [10, 20], "two": [10, 20]}
    assert store.iterations("one") == store.iterations("two") == [30]
    assert re.fullmatch(r"2 runs: 4 pruned, \d.* kB freed, 2 kept \(\d.* kB\)", str(state.message))
    summary = shown("pruning-summary")
    assert str(state.message) in summary
    size = r"\(\d.* kB\)"
    assert re.search(
        rf"\| \[one\]\(/v2/artifacts/.*\) \| 2 {size}: 10, 20 \| 0 \| 0 \| 1 {size}: 30 \|",
        summary,
    )
    assert re.search(rf"\| \*\*all\*\* \| 4 {size} \| 0 \| 0 \| 2 {size} \|", summary)
    assert "Policy: keep the newest 1; delete the rest" in summary
    line = logged(state.state_details.flow_run_id, "two: 2 pruned")
    assert re.search(r"two: 2 pruned, .* freed, 1 kept .*\. 10, 20: not among the last 1", line)


@pytest.mark.slow
@pytest.mark.prefect
def test_a_store_that_is_not_there_fails_and_changes_no_page_and_an_empty_one_is_called_so(
    prefect_server: str, store: LocalWeightsStore, tmp_path: Path
) -> None:
    prune("*", LAST_ONE, True, str(store.basedir))
    before = shown("pruning-summary")
    missing = tmp_path / "mistyped"
    state = prune("*", LAST_ONE, store=str(missing), return_state=True)
    assert state.is_failed()
    assert f"no store at {missing}" in str(state.message)
    assert shown("pruning-summary") == before
    assert not missing.exists()
    missing.mkdir()
    assert prune("*", LAST_ONE, store=str(missing)) == {}
    assert f"{missing} is empty: it has no runs" in shown("pruning-summary")


@pytest.mark.slow
@pytest.mark.prefect
def test_only_the_run_that_was_named_is_pruned_and_swept_and_its_page_shows_it_gone(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    fill(store, "three")
    mark_past_grace(store, "two", "three")
    pruned = prune("three", LAST_ONE, store=str(store.basedir))
    assert pruned == {"three": []}
    assert store.iterations("three") == [30]
    assert store.iterations("one") == store.iterations("two") == [10, 20, 30]
    assert "0 marked" in shown("pruning-three")
    assert "2 pruned" in shown("pruning-three")
    assert re.search(
        r"\| \[three\]\(.*\) \| 0 \| 0 \| 2 \(\d.* kB\): 10, 20 \| 1 ", shown("pruning-summary")
    )
    by = store.history("three").checkpoints[10].pruned_by
    assert by is not None
    assert by.startswith("flow run prune three (")


@pytest.mark.slow
@pytest.mark.prefect
def test_what_is_reclaimed_is_shown_although_the_policy_is_refused(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    fill(store, "refused")
    mark_past_grace(store, "refused")
    with pytest.raises(PruningFailedError, match=r"refused: RetentionError: .* no live"):
        prune("refused", RetentionPolicy(keep_best=1), store=str(store.basedir))
    assert "2 pruned" in shown("pruning-refused")


@pytest.mark.slow
@pytest.mark.prefect
def test_a_damaged_run_keeps_no_other_from_being_pruned_and_swept(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    mark_past_grace(store, "one", "two")
    store.filesystem.write_bytes("one/val/dice.json", b"{")
    with pytest.raises(
        PruningFailedError, match=r"one: DamagedRecordError: .*dice\.json"
    ) as failed:
        prune(["one", "two"], LAST_ONE, store=str(store.basedir))
    assert "two" not in str(failed.value)
    assert store.iterations("one") == [10, 20, 30]
    assert store.iterations("two") == [30]
    summary = shown("pruning-summary")
    assert "- **one**: DamagedRecordError" in summary
    assert "| one | 0 | 0 | 0 | 0 | – | – | 1 |" in summary


@pytest.mark.slow
@pytest.mark.prefect
def test_what_cannot_be_deleted_is_said_and_the_flow_fails_at_its_end(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    mark_past_grace(store, "one")
    for run in ("one", "two"):
        store.filesystem.write_bytes(f"{run}/records/checkpoints/10.json", b"{")
    state = prune("*", LAST_ONE, store=str(store.basedir), return_state=True)
    assert state.is_failed()
    log = logged(state.state_details.flow_run_id, "not deleted", "not reclaimed")
    for said in (state.message, shown("pruning-summary"), log):
        assert re.search(r"one\W+(not reclaimed: )?10: its record .* is damaged", str(said))
        assert re.search(r"two\W+(not deleted: )?10: its record .* is damaged", str(said))
    assert store.iterations("one") == store.iterations("two") == [10, 30]
    assert re.search(
        r"\*\*all\*\* \| 1 \(.*\) \| 0 \| 1 \(.*\) \| .* \| 2 \|", shown("pruning-summary")
    )


def logged(flow_run: object, *wanted_words: str) -> str:
    """The lines of a flow run's log, as soon as they say all this."""
    wanted = {"logs": {"flow_run_id": {"any_": [str(flow_run)]}}}
    with get_client(sync_client=True) as client:

        def found() -> str:
            lines = client.request("POST", "/logs/filter", json=wanted).json()
            text = "\n".join(each["message"] for each in lines)
            return text if all(words in text for words in wanted_words) else ""

        return str(wait_for(f"the lines {wanted_words}", 30, found))


@pytest.mark.slow
@pytest.mark.prefect
def test_within_its_grace_period_a_checkpoint_comes_back_and_the_page_says_so(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    url = str(store.basedir)
    grace = RetentionPolicy.model_validate({"keep_last": 1, "grace": "7d"})
    prune("one", grace, store=url)
    assert store.iterations("one") == [10, 20, 30]
    until = store.history("one").checkpoints[10].restorable_until
    assert until is not None
    assert f"marked, restorable until {until:%Y-%m-%d %H:%M} UTC" in shown("pruning-one")

    @flow(name="bring back")
    def bring_back() -> bool:
        with publisher.caught_up():
            return restore("one", 10, url)

    assert bring_back()
    back = events("one", "restored", 1)[-1]
    assert re.fullmatch(
        r"one: iteration 10 restored, .* kB; it had been marked: not among the last 1",
        back["resource"]["prefect.resource.name"],
    )
    assert store.history("one").checkpoints[10].fate == "kept"
    assert store.history("one").checkpoints[20].fate == "marked"
    assert "1 marked" in shown("pruning-one")
    fates = {row["iteration"]: row.get("fate") for row in markdown_rows(shown("pruning-one"))}
    assert str(fates.pop("20")).startswith("marked")
    assert fates == {"10": None, "30": None}
    assert "pinned: restored by hand" in shown("pruning-one")

    @flow(name="prune without grace")
    def prune_again() -> None:
        with publisher.caught_up():
            prune_run("one", RetentionPolicy(keep_last=1), url)
            sweep("one", url)

    prune_again()
    assert store.iterations("one") == [10, 20, 30]


@pytest.mark.slow
@pytest.mark.prefect
def test_whatever_deletes_is_on_record_as_the_flow_run_and_sends_an_event(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    url = str(store.basedir)
    fill(store, "told")
    store.store_best("told", 20, "val", "dice")

    @flow(name="tidy", flow_run_name="tidy up")
    def tidy() -> None:
        with publisher.caught_up():
            prune_run("told", NO_TIME, url)
            sweep("told", url)
            remove("told", 20, url, force=True)

    tidy()
    history = store.history("told").checkpoints
    by = {history[iteration].pruned_by for iteration in (10, 20)}
    assert len(by) == 1
    assert str(by.pop()).startswith("flow run tidy up (")
    table = {row["iteration"]: row for row in markdown_rows(shown("pruning-told"))}
    assert table["20"]["why"] == "best by Dice on val; removed by hand"
    sent = events("told", "pruned", 3)
    payloads = [each["payload"] for each in sent]
    told = [(each["kind"], each["iterations"]) for each in payloads]
    assert told == [("mark", [10]), ("reclaim", [10]), ("remove", [20])]
    assert all(each["bytes"] > 0 and each["store"] == url for each in payloads)
    assert {each["run"] for each in payloads} == {"told"}
    lines = [each["resource"]["prefect.resource.name"] for each in sent]
    assert re.match(
        r"told: 10 marked, .* kB, can be restored until .*: not among the last", lines[0]
    )
    assert lines[2].endswith("kB freed: removed by hand; best by Dice on val") or lines[2].endswith(
        "kB freed: best by Dice on val; removed by hand"
    )


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.parametrize(
    ("flow", "given", "name", "why"),
    [
        (prune, {"runs": []}, "prune nothing", "at least 1 item"),
        (prune, {"policy": {"grace": "7 fortnights"}}, "prune *", "grace"),
        (prune, {"runs": ["a", "b"], "policy": {}}, "prune a, b", "would keep nothing"),
        (train, {"run": {"name": "typo", "num_iteration": 2}}, "train typo", "num_iteration"),
        (train, {"retention": {}}, "train demo", "would keep nothing"),
        (validate, {"run": "any", "iterations": "x"}, "validate any", "iterations"),
    ],
)
def test_a_run_that_fails_before_it_begins_is_named(
    prefect_server: str, flow: Any, given: dict[str, Any], name: str, why: str
) -> None:
    state = flow(**given, return_state=True)
    assert state.is_failed()
    assert why in state.message
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(state.state_details.flow_run_id).name == name


def test_what_goes_wrong_alike_is_said_once() -> None:
    alike = {f"run-{number}": "the same" for number in range(8)}
    assert grouped({"lonely": "its own"} | alike) == (
        "lonely: its own; 8 runs (run-0, run-1, run-2, run-3, run-4, 3 more): the same"
    )
