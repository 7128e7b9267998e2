"""Deleting checkpoints: what protects each is looked at again just before.

The record of a checkpoint is deleted first, then its file: no record is ever about a checkpoint
that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.prune_intents import (
    put_back_record,
)
from dacapo_core.store.pruning.prune_operation import Order, Outcome, carry_out, is_another
from dacapo_core.store.pruning.run_inventory import RunInventory, take_inventory
from dacapo_core.store.records.prune_records import (
    OperationRecord,
    PrunedCheckpoint,
)
from dacapo_core.store.records.replaced_checkpoints import withdraw_replaced
from dacapo_core.store.records.scores_records import derive_best

_LIST_AGAIN_AFTER = 1.0  # seconds


def delete_checkpoints(filesystem: StoreFilesystem, run: str, order: Order) -> Outcome:
    """Delete what nothing protects by now.

    Raises:
        StoreNotWritableError: nothing can be written, so nothing was deleted.
        DamagedRecordError: a best record cannot be read, so no more is deleted.
    """
    listed = time.monotonic()
    inventory: RunInventory | None = None
    withdrew_best = False

    def delete_batch(record: OperationRecord, batch: Sequence[int], done: Outcome) -> None:
        nonlocal inventory, listed, withdrew_best
        if time.monotonic() - listed > _LIST_AGAIN_AFTER:
            inventory, listed = None, time.monotonic()
        known = None if inventory is None else inventory.checkpoints
        inventory = take_inventory(filesystem, run, datetime.now(UTC), known)
        if _delete_batch(filesystem, run, order, record.iterations, batch, inventory, done):
            withdrew_best = True

    try:
        return carry_out(filesystem, run, order, delete_batch)
    finally:
        if withdrew_best:
            derive_best(filesystem, run)


def _delete_batch(
    filesystem: StoreFilesystem,
    run: str,
    order: Order,
    said: Mapping[int, PrunedCheckpoint],
    batch: Iterable[int],
    inventory: RunInventory,
    done: Outcome,
) -> bool:
    """Whether a best of a checkpoint that was replaced is to be derived again."""
    firm = inventory.protected_by_hand() if order.by_hand else inventory.never_prunable()
    going: list[int] = []
    for iteration in batch:
        now, then = inventory.checkpoints.get(iteration), order.seen[iteration]
        if now is None:
            continue
        if order.forced:
            going.append(iteration)
        elif iteration in firm:
            done.spared[iteration] = firm[iteration]
        elif is_another(now, then):
            done.spared[iteration] = ["stored again since the plan was made"]
        elif order.marked_only and iteration not in inventory.flags.marks:
            done.spared[iteration] = ["restored since the plan was made"]
        else:
            going.append(iteration)
    replaced = inventory.replaced_pins.keys() | {
        b.iteration for b in inventory.replaced_best.values()
    }
    withdrew_best = withdraw_replaced(
        filesystem, run, inventory.checkpoints, replaced.intersection(going)
    )
    records = {
        layout.CHECKPOINT_RECORDS.path(run, i): i for i in going if said[i].record is not None
    }
    for path, error in filesystem.delete(records).items():
        done.failed[records[path]] = f"its record could not be deleted: {error}"
    files = {layout.checkpoint_path(run, i): i for i in going if i not in done.failed}
    for path, error in filesystem.delete(files).items():
        iteration = files[path]
        done.failed[iteration] = f"{filesystem.url(path)} could not be deleted: {error}"
        if (record := said[iteration].record) is not None:
            put_back_record(filesystem, run, iteration, record)
    gone = [iteration for iteration in going if iteration not in done.failed]
    done.gone |= {iteration: said[iteration] for iteration in gone}
    notes = [layout.MARKED.path(run, i) for i in gone if i in inventory.flags.marks]
    notes += [layout.DAMAGED.path(run, i) for i in gone if i in inventory.flags.damaged]
    verified = set(filesystem.file_names(layout.VERIFIED.of(run)))
    notes += [layout.VERIFIED.path(run, i) for i in gone if f"{i}.json" in verified]
    filesystem.delete(notes)
    return withdrew_best
