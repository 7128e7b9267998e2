"""The laws of retention, and each rule by example."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ByteSize

from dacapo_core.store.errors import RetentionError
from dacapo_core.store.pruning.plan import PrunePlan, StoredCheckpoint
from dacapo_core.store.records.scores import BestRecord, ScoresRecord
from dacapo_core.store.retention import RetentionPolicy, plan

NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
HIGHER = {"dice": True, "voi": False}


def checkpoints(
    *iterations: int, size: int = 100, hours_apart: float = 1
) -> list[StoredCheckpoint]:
    newest = max(iterations)
    return [
        StoredCheckpoint(i, size, NOW - timedelta(hours=hours_apart * (newest - i) / 100))
        for i in iterations
    ]


def scored(iteration: int, dataset: str = "val", **scores: float | None) -> ScoresRecord:
    return ScoresRecord.model_validate(
        {
            "iteration": iteration,
            "dataset": dataset,
            "criteria": {name: HIGHER[name] for name in scores},
            "entries": [{"parameters": {"threshold": 0.5}, "scores": scores}],
        }
    )


def kept(plan: PrunePlan) -> list[int]:
    return list(plan.kept)


# Laws -------------------------------------------------------------------------------------------

stored = st.builds(
    StoredCheckpoint,
    iteration=st.integers(0, 60),
    size=st.integers(0, 10_000),
    stored=st.datetimes(datetime(2026, 1, 1), NOW.replace(tzinfo=None)).map(
        lambda t: t.replace(tzinfo=UTC)
    ),
    damaged=st.sampled_from([None, None, None, "truncated"]),
    marked=st.sampled_from([None, None, None, "pruned yesterday"]),
    links=st.just(1),
)
runs = st.lists(stored, max_size=25, unique_by=lambda c: c.iteration)
score_values = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
scores = st.lists(
    st.builds(
        lambda i, d, dice, voi: scored(i, d, dice=dice, voi=voi),
        st.integers(0, 60),
        st.sampled_from(["a", "b"]),
        score_values,
        score_values,
    ),
    max_size=20,
    unique_by=lambda r: (r.iteration, r.dataset),
)
count = st.one_of(st.none(), st.integers(1, 6))
rules = st.fixed_dictionaries(
    {
        "keep_last": st.integers(1, 6),
        "keep_every": st.one_of(st.none(), st.integers(1, 20)),
        "keep_best": count,
        "keep_hourly": count,
        "keep_daily": count,
        "keep_weekly": count,
        "minimum_age": st.one_of(st.none(), st.integers(1, 10**7)),
        "pins": st.lists(st.integers(0, 60), max_size=3),
    }
)
limits = st.one_of(st.none(), st.integers(1, 50_000))
targets = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["dice", "voi"])), st.integers(0, 60)
)
protections = st.dictionaries(st.integers(0, 60), st.builds(lambda: ["pinned"]), max_size=3)


@given(runs, scores, rules, limits, targets, protections)
@settings(deadline=None, max_examples=150)
def test_laws(
    run: list[StoredCheckpoint],
    records: list[ScoresRecord],
    given_rules: dict[str, Any],
    limit: int | None,
    best: dict[tuple[str, str], int],
    protected: dict[int, list[str]],
) -> None:
    policy = RetentionPolicy(**given_rules, max_total_size=limit)
    if run and limit is not None:
        # below the latest's size it is refused
        latest = max(run, key=lambda c: (c.damaged is None, c.iteration))
        limit = max(limit, latest.size, 1)
        policy = policy.model_copy(update={"max_total_size": ByteSize(limit)})
    facts: dict[str, Any] = {"scores": records, "best": best, "protected": protected, "now": NOW}
    decided = plan(policy, run, **facts)
    there = {c.iteration: c for c in run}

    assert decided.kept.keys() | decided.pruned.keys() == there.keys(), "each is decided"
    assert not decided.kept.keys() & decided.pruned.keys(), "each is decided once"
    assert all(decided.kept.values()), "nothing is kept without a reason"
    assert all(decided.pruned.values()), "nothing is pruned without a reason"
    shares = (decided.bytes_kept, decided.bytes_freed, decided.bytes_marked)
    assert sum(shares) == sum(c.size for c in run)

    firm = {*protected, *policy.pins, *best.values()}
    if run:
        firm.add(max(there))
        whole = [i for i, c in there.items() if c.damaged is None]
        unmarked = [i for i in whole if there[i].marked is None]
        firm |= {max(some) for some in (whole, unmarked) if some}
    firm &= there.keys()
    assert firm <= decided.kept.keys(), "the never prunable are kept"

    for iteration in decided.kept.keys() - firm:
        assert there[iteration].damaged is None, "a damaged one is kept by no rule"
        assert there[iteration].marked is None, "a marked one is kept by no rule"

    if limit is not None:
        young = {
            i
            for i, c in there.items()
            if policy.minimum_age and NOW - c.stored < policy.minimum_age
        }
        assert decided.bytes_kept <= limit or decided.kept.keys() <= firm | young
        unlimited = plan(policy.model_copy(update={"max_total_size": None}), run, **facts)
        assert decided.kept.keys() <= unlimited.kept.keys(), "a limit keeps nothing more"
    else:
        for rule, value in given_rules.items():
            if value and rule != "keep_last":
                fewer = plan(
                    policy.model_copy(update={rule: [] if rule == "pins" else None}), run, **facts
                )
                assert fewer.kept.keys() <= decided.kept.keys(), "a rule more keeps no less"
                for iteration, reasons in fewer.kept.items():
                    assert set(reasons) <= set(decided.kept[iteration]), "reasons add up"

    left = [c for c in run if c.iteration in decided.kept]
    again = plan(policy, left, **facts)
    if limit is None:
        assert not again.pruned, "carrying out a plan settles it"
    assert plan(policy, reversed(run), **facts) == decided, "order does not matter"


@given(runs.filter(bool), scores, st.integers(1, 4))
@settings(deadline=None, max_examples=150)
def test_the_best_are_those_with_the_best_finite_scores(
    run: list[StoredCheckpoint], records: list[ScoresRecord], n: int
) -> None:
    counting = {c.iteration for c in run if c.damaged is None and c.marked is None}
    decided = plan(RetentionPolicy(keep_best=n, keep_last=1), run, scores=records, now=NOW)
    for dataset in "ab":
        for criterion, higher in HIGHER.items():
            finite = [
                (value, record.iteration)
                for record in records
                if record.dataset == dataset and record.iteration in counting
                for value in [record.entries[0].scores[criterion]]
                if value is not None and math.isfinite(value)
            ]
            finite.sort(key=lambda item: (-item[0] if higher else item[0], item[1]))
            expected = {iteration for _, iteration in finite[:n]}
            said = {
                iteration
                for iteration, reasons in decided.kept.items()
                if any(
                    r.startswith("place") and f" of {dataset}/{criterion} " in r for r in reasons
                )
            }
            assert said == expected


@given(rules, limits, st.one_of(st.none(), st.integers(1, 10**6)))
def test_a_policy_survives_json(
    given_rules: dict[str, Any], limit: int | None, grace: int | None
) -> None:
    policy = RetentionPolicy(**given_rules, max_total_size=limit, grace=grace)
    assert RetentionPolicy.model_validate_json(policy.model_dump_json()) == policy


# Each rule --------------------------------------------------------------------------------------


def test_last_every_and_best_add_up_and_all_reasons_are_said() -> None:
    run = checkpoints(100, 200, 300, 400, 500, 600)
    records = [scored(i, dice=i / 1000, voi=i / 1000) for i in (100, 200, 300, 400, 500)]
    decided = plan(
        RetentionPolicy(keep_last=2, keep_every=300, keep_best=1), run, scores=records, now=NOW
    )
    assert decided.kept == {
        100: ["place 1 of the best 1 of val/voi (0.1)"],
        300: ["multiple of 300"],
        500: ["among the last 2", "place 1 of the best 1 of val/dice (0.5)"],
        600: ["latest", "among the last 2", "multiple of 300"],
    }
    assert decided.pruned[200] == [
        "not among the last 2",
        "no multiple of 300",
        "not among the best 1 of val/dice (place 4, 0.2)",
        "not among the best 1 of val/voi (place 2, 0.2)",
    ]
    assert decided.scores[200] == {"val/dice": 0.2, "val/voi": 0.2}
    assert (decided.bytes_kept, decided.bytes_freed) == (400, 200)


def test_nan_is_never_best_and_no_reason_to_keep() -> None:
    records = [scored(100, dice=math.nan), scored(200, dice=0.1), scored(300, dice=None)]
    decided = plan(
        RetentionPolicy(keep_best=2), checkpoints(100, 200, 300, 400), scores=records, now=NOW
    )
    assert kept(decided) == [200, 400]
    assert decided.pruned[100] == ["no score of val/dice"]


def test_grandfather_father_son_keeps_the_newest_of_each_period() -> None:
    run = checkpoints(*range(0, 10_000, 100), hours_apart=6)  # 100 checkpoints, four a day
    decided = plan(RetentionPolicy(keep_daily=3, keep_weekly=2), run, now=NOW)
    times = {c.iteration: c.stored for c in run}
    days = [i for i, why in decided.kept.items() if any("of day" in reason for reason in why)]
    assert [times[i].isoformat() for i in days] == [
        "2026-03-18T18:00:00+00:00",
        "2026-03-19T18:00:00+00:00",
        "2026-03-20T12:00:00+00:00",
    ]
    weeks = [i for i, why in decided.kept.items() if any("of week" in reason for reason in why)]
    assert [times[i].isoformat() for i in weeks] == [
        "2026-03-15T18:00:00+00:00",
        "2026-03-20T12:00:00+00:00",
    ]


def test_the_size_limit_takes_the_oldest_first_and_the_best_last() -> None:
    run = checkpoints(100, 200, 300, 400, 500)
    records = [scored(i, dice=1 - i / 1000) for i in (100, 200, 300, 400)]
    policy = RetentionPolicy(keep_last=4, keep_best=1, max_total_size=300)
    decided = plan(policy, run, scores=records, now=NOW)
    assert kept(decided) == [100, 400, 500]
    assert decided.pruned[200] == ["over the total size of 300B", "although among the last 4"]


def test_a_size_limit_alone_keeps_what_fits() -> None:
    decided = plan(RetentionPolicy(max_total_size="250 B"), checkpoints(1, 2, 3, 4), now=NOW)
    assert kept(decided) == [3, 4]


def test_a_size_limit_never_takes_the_never_prunable_and_says_so() -> None:
    decided = plan(
        RetentionPolicy(max_total_size=150),
        checkpoints(1, 2, 3),
        protected={1: ["best of val/dice"]},
        now=NOW,
    )
    assert kept(decided) == [1, 3]
    assert "may never be pruned take 200B" in decided.notes[0]


def test_what_is_protected_is_kept_with_all_that_protects_it() -> None:
    names = {100: ["best of val/dice", "pinned"]}
    decided = plan(RetentionPolicy(keep_last=1), checkpoints(100, 200), protected=names, now=NOW)
    assert decided.kept[100] == ["best of val/dice", "pinned"]


def test_the_latest_is_kept_though_it_is_marked_and_a_damaged_one_is_newer() -> None:
    marked = StoredCheckpoint(300, 100, NOW, marked="pruned on Monday")
    damaged = StoredCheckpoint(400, 7, NOW, damaged="truncated")
    decided = plan(RetentionPolicy(keep_last=1), [*checkpoints(100, 200), marked, damaged], now=NOW)
    assert decided.kept == {
        200: ["newest that is not marked", "among the last 1"],
        300: ["latest", "brought back: pruned on Monday"],
        400: ["newest, and damaged"],
    }


def test_a_limit_is_measured_against_the_latest_and_not_a_damaged_one() -> None:
    damaged = StoredCheckpoint(400, 10**9, NOW, damaged="truncated")
    run = [*checkpoints(100, 200), damaged]
    limit = sum(checkpoint.size for checkpoint in run[:2])
    assert 200 in plan(RetentionPolicy(max_total_size=limit), run, now=NOW).kept


def test_a_damaged_newest_does_not_take_the_place_of_a_whole_one() -> None:
    run = [*checkpoints(100, 200, 300), StoredCheckpoint(400, 7, NOW, damaged="truncated")]
    decided = plan(RetentionPolicy(keep_last=1), run, now=NOW)
    assert decided.kept == {300: ["latest", "among the last 1"], 400: ["newest, and damaged"]}
    assert kept(plan(RetentionPolicy(keep_last=2), run, now=NOW)) == [200, 300, 400]


def test_a_marked_checkpoint_counts_toward_nothing() -> None:
    run = [*checkpoints(100, 300, 400), StoredCheckpoint(200, 100, NOW, marked="pruned on Monday")]
    decided = plan(RetentionPolicy(keep_last=3), run, now=NOW)
    assert kept(decided) == [100, 300, 400]
    assert decided.pruned == {200: ["marked: pruned on Monday"]}
    assert decided.doomed == []


def test_young_ones_are_kept() -> None:
    decided = plan(
        RetentionPolicy(keep_last=1, minimum_age="90m"), checkpoints(100, 200, 300), now=NOW
    )
    assert decided.kept[200] == ["younger than 90 minutes"]
    assert decided.pruned[100] == ["not among the last 1", "older than 90 minutes"]


def test_keep_best_looks_only_at_the_criteria_it_is_given() -> None:
    run = checkpoints(100, 200, 300, 400)
    records = [
        scored(100, "a", dice=0.9, voi=0.9),
        scored(200, "a", dice=0.1, voi=0.1),
        scored(300, "b", dice=0.5, voi=0.5),
    ]
    for criteria, expected in (
        (["a/dice"], [100, 400]),
        (["voi"], [200, 300, 400]),
        (None, [100, 200, 300, 400]),
    ):
        policy = RetentionPolicy(keep_best=1, criteria=criteria)
        assert kept(plan(policy, run, scores=records, now=NOW)) == expected


# Bad input --------------------------------------------------------------------------------------


def test_an_unknown_criterion_is_refused_with_the_known_ones() -> None:
    policy = RetentionPolicy(keep_last=1, keep_best=1, criteria=["dise"])
    with pytest.raises(RetentionError, match=r"'dise'.*they have dice, val/dice"):
        plan(policy, checkpoints(1, 2), scores=[scored(1, dice=0.5)], now=NOW)


def test_of_many_criteria_the_similar_ones_are_named() -> None:
    names = [*(f"channel_{number}__voi" for number in range(20)), "mito__f1_score"]
    record = ScoresRecord.model_validate(
        {
            "iteration": 1,
            "dataset": "val",
            "criteria": dict.fromkeys(names, True),
            "entries": [{"parameters": {}, "scores": dict.fromkeys(names, 0.5)}],
        }
    )
    policy = RetentionPolicy(keep_best=1, criteria=["mito__f1score"])
    with pytest.raises(RetentionError, match=r"they have .*mito__f1_score.* and \d+ more") as said:
        plan(policy, checkpoints(1), scores=[record])
    assert len(str(said.value)) < 300


def test_an_unknown_criterion_is_refused_of_a_run_without_scores_too() -> None:
    policy = RetentionPolicy(keep_last=1, keep_best=1, criteria=["dise"])
    with pytest.raises(RetentionError, match="'dise', and the run has no scores"):
        plan(policy, checkpoints(1, 2), now=NOW)
    best = {("val", "dise"): 1}
    assert kept(plan(policy, checkpoints(1, 2), best=best, now=NOW)) == [1, 2]


@pytest.mark.parametrize(
    "rules",
    [
        {"pins": [7]},
        {"keep_every": 1000},
        {"minimum_age": "1s"},
        {"pins": [7], "keep_every": 1000, "max_total_size": "1 GB"},
    ],
)
def test_rules_that_keep_no_checkpoint_are_refused_while_one_would_go(
    rules: dict[str, Any],
) -> None:
    run = checkpoints(100, 200, 300)
    policy = RetentionPolicy(**rules)
    later = NOW + timedelta(days=1)
    with pytest.raises(RetentionError, match=f"{next(iter(rules))} .* would keep nothing"):
        plan(policy, run, now=later)
    assert kept(plan(policy, run[-1:], now=later)) == [300], "nothing goes"
    more = policy.model_copy(update={"keep_last": 1})
    assert kept(plan(more, run, now=later)) == [300]


def test_a_size_limit_below_the_latest_is_taken_for_a_mistake() -> None:
    policy = RetentionPolicy(keep_last=2, max_total_size="200")
    run = [*checkpoints(100), StoredCheckpoint(200, 5_000_000, NOW)]
    with pytest.raises(RetentionError, match=r"is 200B, and the latest checkpoint, 200, .* 4.8MiB"):
        plan(policy, run, now=NOW)


def test_the_target_of_a_best_record_is_kept_without_being_told_twice() -> None:
    best = {("val", "voi"): BestRecord(iteration=100), ("val", "dice"): 200}
    decided = plan(RetentionPolicy(keep_last=1), checkpoints(100, 200, 300, 400), best=best)
    assert decided.kept[100] == ["best of val/voi"]
    assert decided.kept[200] == ["best of val/dice"]


def test_what_marked_ones_hold_above_the_limit_is_said_with_the_time() -> None:
    policy = RetentionPolicy(max_total_size=250, grace=timedelta(days=7))
    decided = plan(policy, checkpoints(1, 2, 3, 4), now=NOW)
    above = decided.above_limit
    assert above is not None
    assert (above.bytes, above.marked, above.bytes_then) == (150, 2, 0)
    assert above.until == NOW + timedelta(days=7)
    (note,) = decided.notes
    assert "150B above the limit of 250B until 2026-03-27 12:00 UTC" in note
    roomy = policy.model_copy(update={"max_total_size": ByteSize(400)})
    assert plan(roomy, checkpoints(1, 2, 3, 4), now=NOW).notes == []
    at_once = policy.model_copy(update={"grace": None})
    assert plan(at_once, checkpoints(1, 2, 3, 4), now=NOW).notes == []


def test_what_was_marked_before_counts_until_its_own_time() -> None:
    def marked(iteration: int, days: int | None) -> StoredCheckpoint:
        end = None if days is None else NOW + timedelta(days=days)
        return checkpoints(iteration)[0]._replace(marked="pruned", reclaim_after=end)

    run = [marked(1, 5), marked(2, 3), marked(3, 1), *checkpoints(4, 5)]
    for limit, above, days in ((250, 250, 5), (350, 150, 3), (450, 50, 1)):
        found = plan(RetentionPolicy(max_total_size=limit), run, now=NOW).above_limit
        assert found is not None
        assert (found.bytes, found.until) == (above, NOW + timedelta(days=days))
    unknown = plan(RetentionPolicy(max_total_size=250), [marked(1, None), *checkpoints(4, 5)])
    assert "until an unknown time" in unknown.notes[0]


def test_keeping_only_the_best_of_a_run_without_scores_is_refused() -> None:
    with pytest.raises(RetentionError, match="no live checkpoint has a score"):
        plan(RetentionPolicy(keep_best=2), checkpoints(1, 2, 3), now=NOW)
    assert kept(plan(RetentionPolicy(keep_best=2, keep_last=2), checkpoints(1, 2, 3), now=NOW)) == [
        2,
        3,
    ]
