"""Removing one checkpoint by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from dacapo_core.store import layout
from dacapo_core.store.errors import (
    ProtectedCheckpointError,
    StoreNotWritableError,
)
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.delete import delete_checkpoints
from dacapo_core.store.pruning.prune_intents import require_checkpoint
from dacapo_core.store.pruning.prune_operation import Order
from dacapo_core.store.pruning.run_inventory import take_inventory
from dacapo_core.store.records.best_records import delete_best
from dacapo_core.store.records.process_identity import this_person
from dacapo_core.store.records.score_names import reasons_in_words


def remove_checkpoint(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    *,
    force: bool = False,
    by: str | None = None,
) -> None:
    """Delete one checkpoint by hand.

    Args:
        force: also when it is the latest, a best, pinned or waiting for its validation; the best
            records that name it go with it.

    Raises:
        MissingCheckpointError: no such checkpoint.
        ProtectedCheckpointError: something points to it; says what.
        StoreNotWritableError: it could not be deleted.
    """
    layout.check_run_name(run)
    iteration = layout.check_iteration(iteration)
    require_checkpoint(filesystem, run, iteration)
    inventory = take_inventory(filesystem, run, datetime.now(UTC))
    reasons = inventory.protected_by_hand().get(iteration, [])
    if reasons and not force:
        what = ", ".join(reasons_in_words(reasons))
        raise ProtectedCheckpointError(
            f"iteration {iteration} of run {run!r} is {what}; it was not removed. "
            "By force it is, with what names it"
        )
    if force:
        bests = [judged for judged, target in inventory.best_targets.items() if target == iteration]
        delete_best(filesystem, run, bests)
        pins = [pin.child if pin else None for pin in inventory.flags.pins.get(iteration, [])]
        paths = [layout.pin_path(run, iteration, child) for child in pins]
        filesystem.delete([*paths, layout.PENDING.path(run, iteration)])
    order = Order(
        kind="remove",
        reasons={iteration: ["removed by hand", *reasons]},
        seen=inventory.checkpoints,
        by=by or this_person(),
        by_hand=True,
        forced=force,
    )
    done = delete_checkpoints(filesystem, run, order)
    if done.spared:
        raise ProtectedCheckpointError(
            f"iteration {iteration} of run {run!r} was not removed: it has just become "
            f"{', '.join(reasons_in_words(done.spared[iteration]))}"
        )
    if done.failed:
        raise StoreNotWritableError(done.failed[iteration])
