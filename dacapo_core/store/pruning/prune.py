"""Pruning a run: the plan of the policy, carried out.

A dry run reads the same and decides the same; it writes nothing. What the real run then spares
is only what has changed since (a best that moved, a checkpoint stored again).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.errors import (
    DamagedCheckpointError,
    MissingCheckpointError,
    NotAFileError,
    RetentionError,
    UnsafeCheckpointError,
)
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.delete import delete_checkpoints
from dacapo_core.store.pruning.keep_rules import plan
from dacapo_core.store.pruning.plan import PrunePlan
from dacapo_core.store.pruning.policy import RetentionPolicy
from dacapo_core.store.pruning.prune_intents import finish_abandoned
from dacapo_core.store.pruning.prune_operation import Order
from dacapo_core.store.pruning.run_inventory import RunInventory, require_run, take_inventory
from dacapo_core.store.pruning.trash import mark_checkpoints, restore
from dacapo_core.store.records.checkpoint_record import CheckpointRecord, read_record_texts
from dacapo_core.store.records.process_identity import this_person
from dacapo_core.store.records.scores import ScoresRecord
from dacapo_core.store.records.scores_records import read_scores
from dacapo_core.store.records.verification_records import note_verification

Verify = Callable[[int], object]
"""Raises DamagedCheckpointError when the checkpoint of an iteration is not whole."""

VERIFICATIONS = 3
"""How often a checkpoint is verified that is stored again meanwhile."""


def prune(
    filesystem: StoreFilesystem,
    run: str,
    policy: RetentionPolicy,
    *,
    verify: Verify,
    dry_run: bool = False,
    by: str | None = None,
) -> PrunePlan:
    """Prune a run by a policy and return what became of each checkpoint, and why.

    Before anything goes, the newest checkpoint is verified; a damaged one counts toward
    nothing, and the newest that verifies is kept. One that asks for code to be run cannot be
    verified; it is not known to be damaged, and is kept.

    Args:
        verify: raises where a checkpoint is damaged.
        dry_run: only say what would be done.
        by: who prunes, for the record; default the user and the host.

    Raises:
        MissingCheckpointError: no such run.
        RetentionError: the policy does not fit the run's scores, or no checkpoint verifies.
        DamagedRecordError: a best record cannot be read: nothing is pruned on doubt.
        StoreNotWritableError: the store cannot be written; nothing was pruned.
    """
    layout.check_run_name(run)
    if not dry_run:
        finish_abandoned(filesystem, run)
    now = datetime.now(UTC)
    inventory = take_inventory(filesystem, run, now)
    if not inventory.checkpoints:
        require_run(filesystem, run)
    try:
        decided = _decide(filesystem, run, policy, inventory, verify, now, dry_run)
    except RetentionError as error:
        raise RetentionError(f"{error}; nothing of run {run!r} was pruned") from None
    decided.notes.extend(
        f"checkpoint {iteration} is damaged: {what}. It counts for nothing and is left alone"
        for iteration, what in inventory.astray.items()
    )
    records = None
    if filesystem.is_local:
        records, damaged = read_record_texts(filesystem, run, decided.doomed)
        decided = _doubted(decided, damaged)
    elif dry_run and decided.doomed:
        decided.notes.append(
            "the checkpoints' records are read when this is carried out; one whose record is "
            "damaged stays"
        )
    if dry_run:
        return decided
    return _carry_out(filesystem, run, policy, decided, records, by or this_person())


def _decide(
    filesystem: StoreFilesystem,
    run: str,
    policy: RetentionPolicy,
    inventory: RunInventory,
    verify: Verify,
    now: datetime,
    dry_run: bool,
) -> PrunePlan:
    checkpoints = dict(inventory.checkpoints)
    protected = {iteration: list(reasons) for iteration, reasons in inventory.protected.items()}
    records: list[ScoresRecord] = []
    if policy.keep_best is not None:
        records, unreadable, _ = read_scores(filesystem, run, checkpoints, checkpoints)
        for iteration, what in unreadable.items():
            protected.setdefault(iteration, []).append(f"its scores cannot be read: {what}")
    unsafe: set[int] = set()
    verified: int | None = None
    while True:
        decided = plan(
            policy,
            checkpoints.values(),
            scores=records,
            best=inventory.best,
            protected=protected,
            now=now,
        )
        if not decided.doomed or verified is not None:
            break
        whole = [i for i, c in checkpoints.items() if c.damaged is None and i not in unsafe]
        if not whole:
            asks_for_code = (
                f" ({', '.join(map(str, sorted(unsafe)))} cannot be verified without running code)"
                if unsafe
                else ""
            )
            raise RetentionError(
                f"no checkpoint of run {run!r} verifies{asks_for_code}; `dacapo-store verify` says "
                "what is wrong"
            )
        newest = max([i for i in whole if checkpoints[i].marked is None] or whole)
        try:
            damaged = _damage(filesystem, run, newest, verify, dry_run)
        except UnsafeCheckpointError as error:
            unsafe.add(newest)
            protected.setdefault(newest, []).append(f"not known to be damaged: {error}")
            continue
        if damaged is not None:
            checkpoints[newest] = checkpoints[newest]._replace(damaged=damaged)
            continue
        verified = newest
        if not unsafe:
            break
        protected.setdefault(newest, []).append("the newest that verifies")
    return replace(decided, run=run, dry_run=dry_run)


def _damage(
    filesystem: StoreFilesystem, run: str, iteration: int, verify: Verify, dry_run: bool
) -> str | None:
    path = layout.checkpoint_path(run, iteration)
    for _ in range(VERIFICATIONS):
        try:
            file = filesystem.file_info(path)
            damage = _found_by(verify, filesystem, run, iteration)
            if damage is None:
                return None
            # stored again meanwhile: what was found is of the file before
            if filesystem.file_info(path) != file:
                continue
        except FileNotFoundError:
            return "it is gone"
        if not dry_run:
            note_verification(filesystem, run, iteration, file, damage)
        return damage
    raise RetentionError(
        f"checkpoint {iteration} of run {run!r} was stored again each time that it was verified"
    )


def _found_by(verify: Verify, filesystem: StoreFilesystem, run: str, iteration: int) -> str | None:
    try:
        verify(iteration)
    except DamagedCheckpointError as error:
        return None if _is_of_another_kind(filesystem, run, iteration) else str(error)
    return None


def _is_of_another_kind(filesystem: StoreFilesystem, run: str, iteration: int) -> bool:
    """Whether a file is nothing that we or torch's zip format wrote: not known to be damaged."""
    try:
        record = filesystem.read_bytes(layout.CHECKPOINT_RECORDS.path(run, iteration))
        CheckpointRecord.model_validate_json(record)
    except (FileNotFoundError, NotAFileError, ValidationError):
        with (
            filesystem.local_copy(layout.checkpoint_path(run, iteration)) as path,
            open(path, "rb") as file,
        ):
            return file.read(2) not in (b"PK", b"")
    return False


def _carry_out(
    filesystem: StoreFilesystem,
    run: str,
    policy: RetentionPolicy,
    decided: PrunePlan,
    records: Mapping[int, str] | None,
    by: str,
) -> PrunePlan:
    decided = _bring_back(filesystem, run, decided, by)
    reclaim_after = None if policy.grace is None else datetime.now(UTC) + policy.grace
    order = Order(
        kind="prune" if policy.grace is None else "mark",
        reasons={iteration: decided.pruned[iteration] for iteration in decided.doomed},
        seen=decided.checkpoints,
        by=by,
        records=records,
        policy=policy.model_dump(mode="json", exclude_defaults=True),
        reclaim_after=reclaim_after,
    )
    act = delete_checkpoints if policy.grace is None else mark_checkpoints
    outcome = act(filesystem, run, order)
    decided = _doubted(decided, outcome.failed)
    return replace(
        _moved_to_kept(decided, outcome.spared),
        operation=outcome.operation,
        reclaim_after=reclaim_after,
    )


def _bring_back(filesystem: StoreFilesystem, run: str, decided: PrunePlan, by: str) -> PrunePlan:
    """Take the marks from those that are kept, so that no sweep deletes them."""
    reclaimed = {}
    for iteration in decided.restored:
        try:
            restore(filesystem, run, iteration, by=by, reasons=decided.kept[iteration])
        except MissingCheckpointError as error:
            reclaimed[iteration] = [f"reclaimed since the plan was made: {error}"]
    kept = {i: reasons for i, reasons in decided.kept.items() if i not in reclaimed}
    pruned = dict(sorted({**decided.pruned, **reclaimed}.items()))
    return replace(decided, kept=kept, pruned=pruned)


def _doubted(decided: PrunePlan, failed: Mapping[int, str]) -> PrunePlan:
    """The plan with what cannot go among the kept."""
    reasons = {i: [f"could not be pruned: {why}"] for i, why in failed.items()}
    return _moved_to_kept(replace(decided, failed={**decided.failed, **failed}), reasons)


def _moved_to_kept(decided: PrunePlan, spared: Mapping[int, list[str]]) -> PrunePlan:
    kept = dict(sorted({**decided.kept, **spared}.items()))
    pruned = {i: reasons for i, reasons in decided.pruned.items() if i not in spared}
    return replace(decided, kept=kept, pruned=pruned)
