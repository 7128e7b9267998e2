"""The store of network weights (``dacapo.store.local_weights_store``), on any file system."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch

from dacapo_core.store import layout
from dacapo_core.store.checkpoint_commit import CheckpointCommits
from dacapo_core.store.checkpoint_files import (
    Verification,
    read_checkpoint,
    verify_checkpoint,
)
from dacapo_core.store.errors import (
    DamagedCheckpointError,
    StoreUnreachableError,
)
from dacapo_core.store.metadata_store import MetadataStore
from dacapo_core.store.pruning.plan import PrunePlan
from dacapo_core.store.pruning.policy import RetentionPolicy
from dacapo_core.store.pruning.prune import prune
from dacapo_core.store.pruning.remove import remove_checkpoint
from dacapo_core.store.records.lease import TIME_TO_LIVE, Lease, require_no_other_holder
from dacapo_core.store.saving.background_writer import BackgroundWriter
from dacapo_core.store.saving.host_buffers import HostBuffers, Snapshot
from dacapo_core.store.saving.run_state import (
    buffers_of,
    device_of,
    host_state_of,
    state_of,
)
from dacapo_core.store.weights_store import TrainedRun, Weights, WeightsStore

logger = logging.getLogger(__name__)


class LocalWeightsStore(MetadataStore, WeightsStore):
    """A store for network weights, with DaCapo's layout.

    ::

        basedir
        └── run1
            ├── checkpoints/iterations/0, 1, …
            ├── dataset1/criterion1.json
            └── records/…

    ``basedir`` is a path or any fsspec URL (``s3://…``, ``gs://…``, ``memory://…``). Methods may be
    called from several threads. A process always reads its own writes.

    >>> store = LocalWeightsStore("/nrs/me/dacapo")
    >>> store.store_weights(run, 1000)
    >>> store.load_weights(run, store.latest_iteration("run1"))
    """

    def __init__(self, basedir: str | Path, storage_options: dict[str, Any] | None = None) -> None:
        super().__init__(basedir, storage_options)
        self._buffers = HostBuffers()
        self._writer = BackgroundWriter()
        self._storing = threading.RLock()
        self._leases: dict[str, WeakSet[Lease]] = {}
        self._commits = CheckpointCommits(self.filesystem, self._seen)

    # storing

    def store_weights(self, run: TrainedRun, iteration: int, *, wait: bool = True) -> None:
        """Store the weights of a run: the state as it is at this call.

        Args:
            run: any object with ``name``, ``model`` and ``optimizer``; what its ``extra_state()``
                returns, where it has one, is stored too.
            wait: return when the checkpoint is durable. False: return when the state is copied
                to host memory (on a GPU: when the copy is queued, ahead of whatever changes the
                state), and make it durable in the background. Only one is being written at a
                time: the next call waits for it, and raises its error.

        Raises:
            InvalidNameError: a name or iteration that the layout cannot hold.
            UnsavableStateError: a value that would not load back safely, named by its key, or
                a state that is no dict.
            LeaseHeldError: this store has no lease of the run, and another process has one.
            LeaseLostError: another process has taken over the run's lease that this store held.
            StoreFullError, StoreNotWritableError: nothing stored before is touched.
        """
        name, iteration = _checked_name(run), layout.check_iteration(iteration)
        with self._storing:
            self._writer.wait()
            check_lease = self._checked_lease(name)
            fence = None if wait else getattr(run, "state_fence", None)
            gathered = host_state_of(run)
            snapshot = self._buffers.snapshot(
                state_of(run) if gathered is None else gathered,
                borrow=wait or gathered is not None,
                fence=fence,
                early=frozenset() if fence is None else buffers_of(run.model),
            )
            commit = partial(self._commit, name, iteration, snapshot, check_lease)
            if wait:
                commit()
            else:
                self._writer.submit(commit)

    def wait(self) -> None:
        """Wait until everything that was stored with ``wait=False`` is durable.

        Raises:
            StoreError: it could not be stored, and why.
        """
        self._writer.wait()

    def close(self) -> None:
        """Wait as `wait`, end the background thread and free its memory; the store stays usable.

        Raises:
            StoreError: as `wait`.
        """
        with self._storing:
            try:
                self._writer.close()
            finally:
                self._buffers.release()

    def lease(
        self,
        run: str,
        owner: str | None = None,
        *,
        time_to_live: timedelta = TIME_TO_LIVE,
        patience: timedelta = timedelta(0),
    ) -> Lease:
        """The right to train a run, for a ``with`` block; checked at each commit of the run.

        Entering raises LeaseHeldError when another process trains the run, after `patience`.
        """
        lease = super().lease(run, owner, time_to_live=time_to_live, patience=patience)
        # one that is asked for while another is held, and refused, takes nothing from that
        self._leases.setdefault(run, WeakSet()).add(lease)
        return lease

    def _checked_lease(self, run: str) -> Callable[[], None]:
        """Make sure that no other process trains the run; returns the check for the commit."""
        held = [(each.epoch, each) for each in self._leases.get(run, ()) if each.epoch is not None]
        if held:
            _, lease = max(held, key=lambda each: each[0])
            lease.check()
            return lease.check
        # where nothing can be read, writing says why, or does not need to
        with suppress(StoreUnreachableError):
            require_no_other_holder(self.filesystem, run)
        return lambda: None

    def _commit(
        self, run: str, iteration: int, snapshot: Snapshot, check_lease: Callable[[], None]
    ) -> None:
        snapshot.settle()
        self._commits.commit(run, iteration, snapshot.state, check_lease)

    # reading

    def _settle(self) -> None:
        self._writer.wait()

    def latest_iteration(self, run: str, *, verified: bool = False) -> int | None:
        """The latest iteration with a checkpoint; None without any, or without the run.

        Args:
            verified: of those that verify; damaged ones are skipped with a warning.

        Raises:
            InvalidNameError: no run can have this name.
            UnsafeCheckpointError, NewerFormatError: with `verified`, that of a checkpoint that
                cannot be verified here, and is not known to be damaged.
        """
        layout.check_run_name(run)
        self._writer.wait()
        if not verified:
            return self._newest(run)
        for iteration in reversed(self.iterations(run)):
            try:
                self.verify(run, iteration)
            except DamagedCheckpointError as error:
                logger.warning("passed over: %s", error)
            except FileNotFoundError:
                continue
            else:
                return iteration
        return None

    def _newest(self, run: str) -> int | None:
        names = self.filesystem.names(layout.iterations_folder(run))
        # most are decimals; asking what each file is would cost more than the rest
        newest = max((int(n) for n in names if n.isascii() and n.isdecimal()), default=None)
        if newest is None:
            return None
        # not every decimal is an iteration
        is_canonical = str(newest) in names and layout.parse_iteration(str(newest)) is not None
        if is_canonical and self.filesystem.is_file(layout.checkpoint_path(run, newest)):
            return newest
        readable = (
            iteration
            for iteration in reversed(self.iterations(run))
            if self.filesystem.is_file(layout.checkpoint_path(run, iteration))
        )
        return next(readable, None)

    def retrieve_weights(
        self,
        run: str,
        iteration: int,
        *,
        verify: bool = True,
        device: str | torch.device | None = None,
    ) -> Weights:
        """The weights of a run at an iteration, on the CPU.

        On a local store the tensors are mapped from the file, and read when they are first used.
        Changing them does not change the file.

        Args:
            verify: compare with the digests; False for a caller that has just verified.
            device: read the model's and the optimizer's tensors straight there. They stay on the
                CPU if DaCapo wrote the checkpoint, or the device has no room for them.

        Raises:
            FileNotFoundError: no such run or iteration.
            DamagedCheckpointError: its bytes are not those that were written.
            UnsafeCheckpointError: it asks for code to be run.
        """
        run, iteration = self._ready_to_read(run, iteration)
        to = None if device is None else torch.device(device)
        self._commits.remember_read(run, iteration)
        state = read_checkpoint(self.filesystem, run, iteration, verify=verify, device=to)
        return Weights(state["model"], state["optimizer"], state.get("extra"))

    def _weights_for(self, run: TrainedRun, iteration: int) -> Weights:
        return self.retrieve_weights(run.name, iteration, device=device_of(run.model))

    def retrieve_model(
        self, run: str, iteration: int, *, verify: bool = True
    ) -> dict[str, torch.Tensor]:
        """The model's state dict alone, as `retrieve_weights` gives it.

        Exactly the model's tensors are verified, and no others are read or fetched, unless
        DaCapo wrote the checkpoint.
        """
        run, iteration = self._ready_to_read(run, iteration)
        self._commits.remember_read(run, iteration)
        state = read_checkpoint(self.filesystem, run, iteration, "model", verify=verify)
        model: dict[str, torch.Tensor] = state["model"]
        return model

    def _ready_to_read(self, run: str, iteration: int) -> tuple[str, int]:
        """The checked name and iteration, once everything stored is durable."""
        checked = layout.check_run_name(run), layout.check_iteration(iteration)
        self._writer.wait()
        return checked

    def verify(self, run: str, iteration: int) -> Verification:
        """Read a whole checkpoint and compare it with what was written.

        Raises:
            FileNotFoundError: no such run or iteration.
            DamagedCheckpointError: its bytes are not those that were written.
            UnsafeCheckpointError: it asks for code to be run.
        """
        run, iteration = self._ready_to_read(run, iteration)
        return verify_checkpoint(self.filesystem, run, iteration)

    def remove(
        self, run: str, iteration: int, *, force: bool = False, by: str | None = None
    ) -> None:
        """Delete a checkpoint.

        Args:
            force: even when it is the latest, a best, pinned or waiting for its validation;
                records that name it are removed too.
            by: who removes it, for the history; default the user and the host.

        Raises:
            FileNotFoundError: no such run or iteration.
            ProtectedCheckpointError: something needs it; says what.
        """
        self._writer.wait()
        remove_checkpoint(self.filesystem, run, iteration, force=force, by=by)

    def prune(
        self, run: str, policy: RetentionPolicy, dry_run: bool = False, *, by: str | None = None
    ) -> PrunePlan:
        """Delete a run's checkpoints that a policy does not keep.

        The newest checkpoint is verified first, unless it is local and this store has just
        written it. What is protected is read again just before deleting. With a grace period
        checkpoints are only marked; `restore` brings them back, and `sweep` deletes them when it
        is over.

        Args:
            dry_run: decide the same, and write nothing.
            by: who prunes, for the history; default the user and the host.

        Returns:
            the plan: ``kept`` and ``pruned``, iteration → reasons; ``failed``, iteration → why it
            could not be deleted.

        Raises:
            FileNotFoundError: no such run.
            RetentionError: the policy does not fit the run; nothing was pruned.
            StoreNotWritableError: nothing was pruned.
        """
        self._writer.wait()
        return prune(
            self.filesystem,
            run,
            policy,
            verify=partial(self._verify_unless_just_written, run),
            dry_run=dry_run,
            by=by,
        )

    def _verify_unless_just_written(self, run: str, iteration: int) -> None:
        if not self._commits.is_as_written(run, iteration):
            self.verify(run, iteration)


def _checked_name(run: TrainedRun) -> str:
    for attribute in ("name", "model", "optimizer"):
        if not hasattr(run, attribute):
            raise TypeError(
                f"run must have name, model and optimizer; {type(run).__name__} {run!r:.80} has no "
                f"{attribute}"
            )
    return layout.check_run_name(run.name)
