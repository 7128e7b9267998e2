"""Pruning within a grace period: checkpoints are marked, on record, safe to kill.

As for a deletion, what is about to be marked is written down before.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from dacapo_core.store.errors import StoreError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.delete import BATCH, Order, Outcome, is_another, new_intent
from dacapo_core.store.pruning.plan_inputs import gather
from dacapo_core.store.pruning.prune_intents import end_intent, renew_intent, write_intent
from dacapo_core.store.records.checkpoint_flags import Mark, mark, unmark

_AT_ONCE = 8


def mark_checkpoints(filesystem: StoreFilesystem, run: str, order: Order) -> Outcome:
    """Mark what still may go; a mark that cannot be written is reported, the rest goes on.

    Raises:
        StoreNotWritableError: nothing can be written, so nothing was marked.
        DamagedRecordError: a best record cannot be read; a sweep deletes nothing then.
    """
    assert order.reclaim_after is not None
    done = Outcome()
    if not order.reasons:
        return done
    intent = new_intent(filesystem, run, order, done)
    record = intent.record
    if not record.iterations:
        return done
    write_intent(filesystem, run, intent)

    def mark_one(iteration: int) -> None:
        then = order.seen[iteration]
        note = Mark(
            time=record.time,
            by=order.by,
            size=then.size,
            stored=then.stored,
            version=then.version if isinstance(then.version, str) else None,
            reclaim_after=order.reclaim_after,
            reasons=order.reasons[iteration],
            operation=record.operation,
        )
        try:
            mark(filesystem, run, iteration, note)
        except (StoreError, OSError) as error:
            done.failed[iteration] = str(error)

    try:
        waiting = sorted(record.iterations)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(waiting), BATCH):
                renew_intent(filesystem, run, intent)
                list(pool.map(mark_one, waiting[start : start + BATCH]))
        done.gone = {i: d for i, d in record.iterations.items() if i not in done.failed}
        _spare(filesystem, run, order, done)
    finally:
        finished = record.model_copy(update={"iterations": done.gone}) if done.gone else None
        end_intent(filesystem, run, record.operation, finished)
        done.operation = record.operation if finished is not None else None
    return done


def _spare(filesystem: StoreFilesystem, run: str, order: Order, done: Outcome) -> None:
    """Take the marks back from those that are protected, gone or stored again by now."""
    facts = gather(filesystem, run, datetime.now(UTC))
    firm = facts.never_prunable()
    for iteration in list(done.gone):
        now = facts.checkpoints.get(iteration)
        if now is not None and iteration in firm:
            done.spared[iteration] = firm[iteration]
        elif now is not None and is_another(now, order.seen[iteration]):
            done.spared[iteration] = ["stored again since the plan was made"]
        elif now is not None:
            continue
        unmark(filesystem, run, iteration)
        del done.gone[iteration]
