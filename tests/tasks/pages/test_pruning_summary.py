"""What pruning came to over several runs, or would come to, in words and figures."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

import pytest

from dacapo_core.store.pruning.plan import PrunePlan, StoredCheckpoint
from dacapo_core.store.pruning.policy_words import policy_in_words, prune_command
from dacapo_core.store.pruning.trash import Sweep
from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.retention import RetentionPolicy
from tasks.pages.pruning_rehearsal import rehearsal_page
from tasks.pages.pruning_summary import pruning_summary, summary_line
from tasks.pages.run_pruning import RunPruning
from tests.markdown_rows import markdown_rows

NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
POLICY = RetentionPolicy.model_validate({"keep_last": 2, "grace": "7d"})
DELETE = RetentionPolicy(keep_last=2)
MB = 1_000_000


def pruning(
    run: str = "mito",
    gone: tuple[int, ...] = (8, 16, 40, 48, 56),
    kept: tuple[int, ...] = (24, 32, 64),
    *,
    policy: RetentionPolicy = POLICY,
    dry_run: bool = False,
    swept: Sweep | None = None,
) -> RunPruning:
    checkpoints = {i: StoredCheckpoint(i, 4 * MB, NOW) for i in (*gone, *kept)}
    plan = PrunePlan(
        checkpoints,
        {i: ["latest"] for i in kept},
        {i: ["not among the last 2"] for i in gone},
        grace=policy.grace,
        reclaim_after=NOW + policy.grace if policy.grace and not dry_run else None,
        run=run,
        dry_run=dry_run,
    )
    return RunPruning(run, plan, swept)


def test_the_state_message_is_one_line() -> None:
    two = [pruning(policy=DELETE), pruning("er", (8,), (16, 24), policy=DELETE)]
    assert summary_line(two) == "2 runs: 6 pruned, 24.0 MB freed, 5 kept (20.0 MB)"
    assert summary_line([pruning()]) == (
        "1 run: 5 marked (20.0 MB, can be restored until 2026-12-05 09:30 UTC), 3 kept (12.0 MB)"
    )
    swept = Sweep(reclaimed={4: ["not among the last 2"]}, bytes_freed=4 * MB)
    assert summary_line([pruning(gone=(), swept=swept)]) == (
        "1 run: 1 reclaimed past their grace period, 0 pruned, 4.0 MB freed, 3 kept (12.0 MB)"
    )


@pytest.mark.parametrize("policy", [POLICY, DELETE])
def test_a_rehearsal_is_in_the_conditional_wherever_it_is_told(policy: RetentionPolicy) -> None:
    rehearsed = pruning(policy=policy, dry_run=True)
    history = [
        CheckpointHistory(i, "kept", reasons=why, size=4 * MB, stored=NOW)
        for i, why in sorted({**rehearsed.plan.kept, **rehearsed.plan.pruned}.items())  # type: ignore[union-attr]
    ]
    assert rehearsed.plan is not None
    page = rehearsal_page(
        "mito", history, rehearsed.plan, policy, store_url="/runs", pruning_path="/p"
    )
    summary = pruning_summary("/runs", [rehearsed], policy, {}, dry_run=True)
    would = "marked" if policy.grace else "pruned"
    for told in (rehearsed.line(), summary_line([rehearsed]), page, summary):
        assert "nothing was touched" in told
        assert f"5 would be {would}" in told
        assert "3 would be kept" in told
        assert "can be restored" not in told
    title, first = page.split("\n\n")[:2]
    assert title == "# Rehearsal: what pruning would do to mito; nothing was touched"
    assert first.startswith("**Rehearsal, nothing was touched: 5 would be")
    assert f"## Would be {would}" in page
    assert f"`{prune_command(policy, 'mito', '/runs')}`" in page
    gone, kept = page.split("## Would be kept")
    rows = {row["iteration"]: row for row in markdown_rows(gone)}
    assert rows["8"]["why"] == "not among the last 2"
    assert "64" in {row["iteration"] for row in markdown_rows(kept)}


def test_the_summary_names_what_went_and_only_that() -> None:
    page = pruning_summary("/runs", [pruning()], POLICY, {"mito": "/page"}, dry_run=False)
    assert "[mito](/page)" in page
    assert "8, 16; 40–56, every 8 (3)" in page
    assert "3 (12.0 MB): 24, 32, 64" in page
    assert "8–56" not in page


def test_the_summary_says_policy_sizes_and_until_when_what_can_be_restored() -> None:
    swept = Sweep(waiting={4: NOW + timedelta(days=1)})
    page = pruning_summary("/my runs", [pruning(swept=swept)], POLICY, {}, dry_run=False)
    assert f"Policy: {policy_in_words(POLICY)}" in page
    assert "Checkpoints of this run: 32.0 MB before, 32.0 MB now." in page
    assert "Of these 20.0 MB goes when the grace period is over." in page
    command = "`dacapo-store restore mito ITERATION --store '/my runs'`"
    assert f"| mito | 4 | 2026-11-29 09:30 UTC | {command} |" in page
    assert f"| mito | 8, 16; 40–56, every 8 (3) | 2026-12-05 09:30 UTC | {command} |" in page
    deleted = pruning_summary("/runs", [pruning(policy=DELETE)], DELETE, {}, dry_run=False)
    assert "32.0 MB before, 12.0 MB now." in deleted
    assert "Can be restored" not in deleted


def test_a_run_that_failed_takes_nothing_from_the_totals_of_the_others() -> None:
    failed = RunPruning("bad", error="DamagedRecordError: no JSON")
    page = pruning_summary("/runs", [pruning(policy=DELETE), failed], DELETE, {}, dry_run=False)
    assert "| bad | 0 | 0 | 0 | 0 | – | – | 1 |" in page
    assert "32.0 MB before, 12.0 MB now." in page
    assert "- **bad**: DamagedRecordError: no JSON" in page


def test_a_log_line_has_the_reasons() -> None:
    assert pruning(policy=DELETE).line() == (
        "mito: 5 pruned, 20.0 MB freed, 3 kept (12.0 MB). "
        "8, 16; 40–56, every 8 (3): not among the last 2"
    )
    assert pruning(gone=(), policy=DELETE).line() == "mito: 0 pruned, 3 kept (12.0 MB)"


def test_a_policy_is_said_in_words_and_as_what_to_type() -> None:
    policy = RetentionPolicy.model_validate(
        {
            "keep_last": 3,
            "keep_best": 2,
            "criteria": ["dice", "a/voi"],
            "keep_daily": 7,
            "minimum_age": "36h",
            "pins": [5, 10],
            "max_total_size": "200 GB",
            "grace": "7d",
        }
    )
    assert policy_in_words(policy) == (
        "keep the newest 3, the best 2 of each dataset and criterion (Dice, VOI on a only), the "
        "newest of each of the last 7 days that have one, what is younger than 36 hours, "
        "iterations 5, 10, no more than 200.0 GB a run in all; mark the rest for 7 days"
    )
    assert policy_in_words(RetentionPolicy.model_validate({"max_total_size": "1 MB"})) == (
        "keep all that fits into 1.0 MB a run; delete the rest"
    )
    assert shlex.split(prune_command(policy, "a run", "s3://b/runs")) == [
        *("dacapo-store", "prune", "a run", "--keep-last", "3", "--keep-best", "2"),
        *("--criterion", "dice", "--criterion", "a/voi", "--keep-daily", "7"),
        *("--max-total-size", "200000000000", "--keep", "5", "--keep", "10"),
        *("--minimum-age", "36h", "--grace", "7d", "--store", "s3://b/runs"),
    ]
