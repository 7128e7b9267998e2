"""A policy's limit on the size of a run's checkpoints. Pure: nothing is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import ByteSize

from dacapo_core.store.errors import RetentionError
from dacapo_core.store.pruning.plan import AboveLimit, StoredCheckpoint
from dacapo_core.store.pruning.policy import RetentionPolicy


def whole_ones(stored: Mapping[int, StoredCheckpoint]) -> list[int]:
    """Iterations of those that are not known to be damaged."""
    return [iteration for iteration, each in stored.items() if each.damaged is None]


def check_limit(policy: RetentionPolicy, stored: Mapping[int, StoredCheckpoint]) -> None:
    """
    Raises:
        RetentionError: the latest checkpoint alone is larger than the limit.
    """
    limit = policy.max_total_size
    if limit is None or not stored:
        return
    latest = stored[max(whole_ones(stored) or stored)]
    if latest.weight > limit:
        raise RetentionError(
            f"max_total_size is {limit.human_readable()}, and the latest checkpoint, "
            f"{latest.iteration}, alone takes {ByteSize(latest.weight).human_readable()}; "
            "is a unit missing, as in `200 GB`?"
        )


def limit_size(
    policy: RetentionPolicy,
    stored: Mapping[int, StoredCheckpoint],
    kept: dict[int, list[str]],
    pruned: dict[int, list[str]],
    firm: Iterable[int],
    ranked_best: set[int],
) -> list[str]:
    """Move the oldest from kept to pruned until the limit holds; those among the best last.

    Returns:
        what a person should know where it cannot hold.
    """
    limit = policy.max_total_size
    if limit is None:
        return []
    total = sum(stored[iteration].weight for iteration in kept)
    over = f"over the total size of {limit.human_readable()}"
    movable = sorted(kept.keys() - set(firm), key=lambda i: (i in ranked_best, i))
    for iteration in movable:
        if total <= limit:
            break
        pruned[iteration] = [over, *(f"although {why}" for why in kept.pop(iteration))]
        total -= stored[iteration].weight
    if total > limit:
        return [
            f"the checkpoints that may never be pruned take {ByteSize(total).human_readable()}, "
            f"more than the policy's {limit.human_readable()}"
        ]
    return []


def above_limit(
    policy: RetentionPolicy,
    stored: Mapping[int, StoredCheckpoint],
    kept: Iterable[int],
    pruned: Iterable[int],
    now: datetime,
) -> AboveLimit | None:
    """What marked checkpoints hold above the limit until their grace periods are over."""
    limit = policy.max_total_size
    if limit is None:
        return None
    # without a grace period, those that are not marked go at once
    waiting = [i for i in pruned if policy.grace is not None or stored[i].marked is not None]
    above = sum(stored[iteration].weight for iteration in (*kept, *waiting)) - limit
    if above <= 0 or not waiting:
        return None
    later = now + policy.grace if policy.grace is not None else None
    until: datetime | None = None
    left = above
    for end, size in _ends(stored, waiting, later):
        if left <= 0:
            break
        left, until = left - size, end
    return AboveLimit(above, limit, len(waiting), until, max(left, 0))


def _ends(
    stored: Mapping[int, StoredCheckpoint], waiting: Iterable[int], later: datetime | None
) -> list[tuple[datetime, int]]:
    """When each may be deleted, and what that frees, in order."""
    found = []
    for iteration in waiting:
        checkpoint = stored[iteration]
        end = later if checkpoint.marked is None else checkpoint.reclaim_after
        if end is not None:
            found.append((end, checkpoint.weight))
    return sorted(found)
