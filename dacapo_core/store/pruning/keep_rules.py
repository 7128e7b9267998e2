"""Which checkpoints of a run to keep, which may go, and why. Pure: nothing is touched.

A policy's rules compose as a union of reasons to keep. A size limit takes from that union,
oldest first. What may never be pruned is kept whatever the policy says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from dacapo_core.store.errors import RetentionError
from dacapo_core.store.pruning.plan import PrunePlan, StoredCheckpoint
from dacapo_core.store.pruning.policy import RetentionPolicy, shown_duration
from dacapo_core.store.pruning.size_limit import above_limit, check_limit, limit_size, whole_ones
from dacapo_core.store.records.scores import (
    BestRecord,
    Judged,
    ScoresRecord,
    best_scores,
    names_of,
    ranking,
)

SHOWN_NAMES = 6


def plan(
    policy: RetentionPolicy,
    checkpoints: Iterable[StoredCheckpoint],
    *,
    scores: Iterable[ScoresRecord] = (),
    best: Mapping[Judged, int | BestRecord] | None = None,
    protected: Mapping[int, Sequence[str]] | None = None,
    now: datetime | None = None,
) -> PrunePlan:
    """Decide for each checkpoint: kept or pruned, with all its reasons.

    Args:
        scores: of any iterations; needed where the policy keeps the best.
        best: (dataset, criterion) → the best's iteration or record: its checkpoint may not go,
            and a policy's criteria may name it.
        protected: iteration → why else it may not go (pinned, waiting for validation, …).
        now: the time that ages count from; default the present.

    Raises:
        RetentionError: the policy names a criterion that the run does not have, none of its
            rules keeps a checkpoint, or its limit is below the latest checkpoint's size.
    """
    best = best or {}
    now = now or datetime.now(UTC)
    stored = {checkpoint.iteration: checkpoint for checkpoint in checkpoints}
    counting = [c for c in stored.values() if c.damaged is None and c.marked is None]
    counting.sort(key=lambda checkpoint: checkpoint.iteration)
    live = {checkpoint.iteration for checkpoint in counting}
    records = [record for record in scores if record.iteration in live]

    check_limit(policy, stored)
    firm = never_prunable(stored, named(best, protected or {}))
    for iteration in policy.pins:
        if iteration in stored:
            firm.setdefault(iteration, []).append("pinned by the policy")
    if policy.minimum_age is not None:
        for checkpoint in counting:
            if now - checkpoint.stored < policy.minimum_age:
                reason = f"younger than {shown_duration(policy.minimum_age)}"
                firm.setdefault(checkpoint.iteration, []).append(reason)

    kept = {iteration: list(reasons) for iteration, reasons in firm.items()}
    pruned: dict[int, list[str]] = {iteration: [] for iteration in live - firm.keys()}
    ranked_best: set[int] = set()
    rules = list(_rules(policy, counting))
    if policy.keep_best is not None:
        for rule in _best_rules(policy, records, best):
            ranked_best |= rule[0].keys()
            rules.append(rule)
    for keeps, missed in rules:
        for iteration in live:
            if iteration in keeps:
                kept.setdefault(iteration, []).append(keeps[iteration])
            elif iteration in pruned:
                pruned[iteration].append(missed(iteration))
    for reasons in pruned.values():
        if policy.minimum_age is not None:
            reasons.append(f"older than {shown_duration(policy.minimum_age)}")
        if policy.pins:
            reasons.append("not pinned by the policy")
    if not policy.has_rules:
        for iteration in live:
            kept.setdefault(iteration, []).append("within the total size")
    for iteration in kept:
        pruned.pop(iteration, None)
    if pruned and not _gives_a_reason(policy, rules, counting, stored, now):
        raise RetentionError(
            f"none of the policy's rules ({_shown_rules(policy)}) keeps any of the "
            f"{len(live)} checkpoints: it would keep nothing; add a rule such as keep_last"
        )
    notes = limit_size(policy, stored, kept, pruned, firm.keys(), ranked_best)
    for iteration, checkpoint in stored.items():
        if iteration not in kept and iteration not in live:
            pruned[iteration] = (
                [f"marked: {checkpoint.marked}", *checkpoint.marked_for]
                if checkpoint.marked is not None
                else [f"damaged: {checkpoint.damaged}"]
            )
        elif iteration in kept and checkpoint.marked is not None:
            kept[iteration].append(f"brought back: {checkpoint.marked}")
    above = above_limit(policy, stored, kept, pruned, now)
    return PrunePlan(
        checkpoints=stored,
        kept=dict(sorted(kept.items())),
        pruned=dict(sorted(pruned.items())),
        scores=best_scores(records),
        grace=policy.grace,
        above_limit=above,
        notes=[*notes, str(above)] if above is not None else notes,
    )


def named(
    best: Mapping[Judged, int | BestRecord], protected: Mapping[int, Sequence[str]]
) -> dict[int, list[str]]:
    """Iteration → what names it: best records first, then what else protects it."""
    found: dict[int, list[str]] = {}
    for (dataset, criterion), target in sorted(best.items(), key=lambda item: item[0]):
        iteration = target if isinstance(target, int) else target.iteration
        found.setdefault(iteration, []).append(f"best of {dataset}/{criterion}")
    for iteration, reasons in protected.items():
        found.setdefault(iteration, []).extend(reasons)
    return found


def never_prunable(
    stored: Mapping[int, StoredCheckpoint], protected: Mapping[int, Sequence[str]]
) -> dict[int, list[str]]:
    """Iteration → why no policy and no sweep may delete it.

    The latest, which is the newest that is not known to be damaged; the newest that is not
    marked; a damaged one that is newer than these; and what is protected.
    """
    firm: dict[int, list[str]] = {}
    whole = whole_ones(stored)
    if whole:
        firm[max(whole)] = ["latest"]
        unmarked = [i for i in whole if stored[i].marked is None]
        if unmarked:
            firm.setdefault(max(unmarked), ["newest that is not marked"])
    if stored:
        firm.setdefault(max(stored), ["newest, and damaged"])
    for iteration, reasons in protected.items():
        if iteration in stored:
            firm.setdefault(iteration, []).extend(reasons)
    return firm


Rule = tuple[dict[int, str], Callable[[int], str]]
"""Iteration → why this rule keeps it, and what it says of the others."""


def _rules(policy: RetentionPolicy, counting: Sequence[StoredCheckpoint]) -> Iterable[Rule]:
    if (last := policy.keep_last) is not None:
        among = f"among the last {last}"
        yield {c.iteration: among for c in counting[-last:]}, lambda _: f"not {among}"
    if (every := policy.keep_every) is not None:
        multiple = f"multiple of {every}"
        kept = {c.iteration: multiple for c in counting if c.iteration % every == 0}
        yield kept, lambda _: f"no {multiple}"
    periods = (
        ("hour", "hours", policy.keep_hourly, "%Y-%m-%d %H:00"),
        ("day", "days", policy.keep_daily, "%Y-%m-%d"),
        ("week", "weeks", policy.keep_weekly, "%G-W%V"),
    )
    for period, plural, count, form in periods:
        if count is None:
            continue
        newest: dict[str, StoredCheckpoint] = {}
        for checkpoint in counting:
            name = checkpoint.stored.astimezone(UTC).strftime(form)
            known = newest.get(name)
            if known is None or checkpoint.stored >= known.stored:
                newest[name] = checkpoint
        chosen = sorted(newest)[-count:]
        missed = f"not the newest of one of the last {count} {plural}"
        yield (
            {newest[name].iteration: f"newest of {period} {name}" for name in chosen},
            lambda _, missed=missed: missed,  # type: ignore[misc]
        )


def _best_rules(
    policy: RetentionPolicy, records: Sequence[ScoresRecord], best: Iterable[Judged]
) -> Iterable[Rule]:
    count = policy.keep_best or 0
    ranked = ranking(records)
    if policy.criteria is not None:
        names = names_of([*ranked, *best])
        unknown = [name for name in policy.criteria if name not in names]
        if unknown:
            known = (
                f"which the run's scores do not have; they have {_shown_names(names, unknown[0])}"
                if names
                else "and the run has no scores; validate first, or leave the criteria out"
            )
            raise RetentionError(
                f"the policy keeps the best by {', '.join(map(repr, unknown))}, {known}"
            )
        wanted = {judged for name in policy.criteria for judged in names.get(name, ())}
        ranked = {judged: order for judged, order in ranked.items() if judged in wanted}
    only_by_scores = not policy.model_copy(update={"keep_best": None}).has_rules
    if only_by_scores and not any(ranked.values()):
        raise RetentionError(
            "the policy keeps the best alone, and no live checkpoint has a score: it would keep "
            "nothing; validate first, or add a rule such as keep_last"
        )
    for (dataset, criterion), order in sorted(ranked.items()):
        name = f"{dataset}/{criterion}"
        places = {i: (place, record.score) for place, (i, record) in enumerate(order, start=1)}
        keeps = {
            i: f"place {place} of the best {count} of {name} ({score:.4g})"
            for i, (place, score) in places.items()
            if place <= count and score is not None
        }

        def missed(
            iteration: int,
            places: dict[int, tuple[int, float | None]] = places,
            name: str = name,
        ) -> str:
            if iteration not in places:
                return f"no score of {name}"
            place, score = places[iteration]
            return f"not among the best {count} of {name} (place {place}, {score:.4g})"

        yield keeps, missed


def _shown_names(names: Iterable[str], like: str) -> str:
    """Those names; of many the most similar to one."""
    known = sorted(names)
    if len(known) <= SHOWN_NAMES:
        return ", ".join(known)
    similar = get_close_matches(like, known, SHOWN_NAMES, cutoff=0)
    return f"{', '.join(similar)} and {len(known) - len(similar)} more"


def _gives_a_reason(
    policy: RetentionPolicy,
    rules: Sequence[Rule],
    counting: Sequence[StoredCheckpoint],
    stored: Mapping[int, StoredCheckpoint],
    now: datetime,
) -> bool:
    """Whether the policy itself keeps anything, besides what may never be pruned."""
    return (
        not policy.has_rules
        or any(keeps for keeps, _ in rules)
        or any(iteration in stored for iteration in policy.pins)
        or (
            policy.minimum_age is not None
            and any(now - checkpoint.stored < policy.minimum_age for checkpoint in counting)
        )
    )


def _shown_rules(policy: RetentionPolicy) -> str:
    given = policy.model_dump(exclude_defaults=True, exclude={"grace", "max_total_size"})
    return ", ".join(
        f"{name} {shown_duration(value) if isinstance(value, timedelta) else value}"
        for name, value in given.items()
    )
