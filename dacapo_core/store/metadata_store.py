"""Everything about a store's runs but the weights themselves: best, scores, pins, retention.

Needs no torch, so that a command line or a monitor starts fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dacapo_core.data.intensity_range import Intensities
from dacapo_core.store import layout, missing_store
from dacapo_core.store.errors import (
    DamagedRecordError,
    StoreError,
    StoreNotWritableError,
    SweepError,
)
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning import run_inventory, trash
from dacapo_core.store.pruning.trash import Sweep
from dacapo_core.store.records import (
    checkpoint_flags,
    history,
    picture_records,
    run_overview,
    scores_records,
    training_records,
)
from dacapo_core.store.records.checkpoint_flags import Pin
from dacapo_core.store.records.lease import TIME_TO_LIVE, Lease
from dacapo_core.store.records.run_overview import RunOverview
from dacapo_core.store.records.run_records import read_run_record, write_run_record
from dacapo_core.store.run_listing import list_runs
from dacapo_core.store.score_store import ScoreStore


class MetadataStore(ScoreStore):
    """The records of a store.

    Attributes:
        basedir: absolute path, or URL.
        filesystem: the files below it.
    """

    def __init__(self, basedir: str | Path, storage_options: dict[str, Any] | None = None) -> None:
        """
        Args:
            basedir: a path (made when first written to) or any fsspec URL.
            storage_options: of that URL's file system.

        Raises:
            InvalidPlaceError: it is neither a path nor a URL.
            ValueError: the package of its file system is not installed.
            StorageOptionsError: the file system does not know one of the options.
        """
        self.filesystem = StoreFilesystem(basedir, storage_options)
        self.basedir = self.filesystem.basedir
        self._seen = {}

    def on_record(self) -> MetadataStore:
        """This store as it is, for a reader that waits for no checkpoint in the making.

        Nor does it take the error of one, which is for the one that stores.
        """
        reader = MetadataStore.__new__(MetadataStore)
        reader.filesystem, reader.basedir = self.filesystem, self.basedir
        reader._seen = self._seen
        return reader

    def require_store(self) -> None:
        """
        Raises:
            MissingStoreError: there is no store: mistyped, not mounted, or nothing was ever stored.
        """
        self._settle()
        missing_store.require_store(self.filesystem)

    # runs

    def runs(self) -> list[str]:
        """Names of the runs: folders with ``checkpoints/iterations``."""
        self._settle()
        return list_runs(self.filesystem)[0]

    def damaged_runs(self) -> dict[str, str]:
        """Name → what is wrong with what stands where a run could: a link astray, a closed folder.

        They are no runs, and nothing follows them.
        """
        return list_runs(self.filesystem)[1] if self.filesystem.is_local else {}

    def iterations(self, run: str) -> list[int]:
        """Iterations that have a checkpoint, in order; none of a missing run."""
        self._settle()
        names = self.filesystem.sound_names(layout.iterations_folder(layout.check_run_name(run)))
        found = (layout.parse_iteration(name) for name in names)
        return sorted(iteration for iteration in found if iteration is not None)

    def check_writable(self, run: str) -> None:
        """Write a few bytes where the checkpoints of a run are made, and take them away again.

        Raises:
            StoreNotWritableError: nothing can be stored there, and why.
        """
        path = layout.probe_path(layout.check_run_name(run))
        self.filesystem.write_bytes(path, b"can this be written?")
        for error in self.filesystem.delete([path]).values():
            raise StoreNotWritableError(
                f"{self.filesystem.url(path)} can be written and not deleted: {error}"
            ) from error

    def store_run_config(self, run: str, config: Mapping[str, Any]) -> None:
        """Keep what a run is trained with."""
        write_run_record(self.filesystem, run, layout.RUN_CONFIG, config)

    def run_config(self, run: str) -> dict[str, Any] | None:
        """What a run is trained with; None for one of DaCapo's own."""
        return read_run_record(self.filesystem, run, layout.RUN_CONFIG)

    def store_start_report(self, run: str, report: Mapping[str, Any]) -> None:
        """Keep the loading report of where a run began."""
        write_run_record(self.filesystem, run, layout.START_REPORT, report)

    def start_report(self, run: str) -> dict[str, Any] | None:
        """The loading report of where a run began; None when it began from scratch."""
        return read_run_record(self.filesystem, run, layout.START_REPORT)

    def store_overview(self, run: str, overview: RunOverview) -> None:
        """Keep a run's overview in place of the one before."""
        run_overview.write_overview(self.filesystem, run, overview)

    def overviews(self, runs: Sequence[str] | None = None) -> dict[str, RunOverview | None]:
        """Run → its overview, of these or of all runs; None where there is none yet.

        One small read a run, however many checkpoints it has.
        """
        if runs is not None:
            return run_overview.read_overviews(self.filesystem, runs)
        folders = filter(layout.is_run_name, sorted(self.filesystem.list_folders()))
        found = run_overview.read_overviews(self.filesystem, list(folders))
        if all(found.values()):
            return found
        # folders are asked whether they are runs only where something does not say so
        others = set(self.runs())
        return {run: each for run, each in found.items() if each or run in others}

    def store_intensities(self, run: str, intensities: Intensities) -> None:
        """Keep what becomes of raw values."""
        write_run_record(self.filesystem, run, layout.INTENSITIES, intensities.to_json())

    def intensities(self, run: str) -> Intensities | None:
        """What becomes of raw values; None of a run that began before it was kept."""
        found = read_run_record(self.filesystem, run, layout.INTENSITIES)
        try:
            return None if found is None else Intensities.from_json(found)
        except ValueError as error:
            url = self.filesystem.url(layout.run_record_path(run, layout.INTENSITIES))
            raise DamagedRecordError(f"{url} cannot be read: {error}") from None

    def store_training_stats(self, run: str, iteration: int, stats: Mapping[str, Any]) -> None:
        """Keep the statistics of a stretch of training that ended with an iteration."""
        training_records.write_training_stats(self.filesystem, run, iteration, stats)

    def training_stats(self, run: str) -> list[dict[str, Any]]:
        """The statistics of each stretch of training, by iteration."""
        return training_records.read_training_stats(self.filesystem, run)

    def lease(
        self,
        run: str,
        owner: str | None = None,
        *,
        time_to_live: timedelta = TIME_TO_LIVE,
        patience: timedelta = timedelta(0),
    ) -> Lease:
        """The right to train a run; enter it with ``with``.

        Entering raises LeaseHeldError when another process trains the run, after `patience`: one
        that died elsewhere is known to be dead after its time to live.
        """
        return Lease(
            self.filesystem,
            layout.check_run_name(run),
            owner=owner,
            time_to_live=time_to_live,
            patience=patience,
        )

    def withdraw_after(self, run: str, iteration: int) -> list[int]:
        """Discard scores, bests, pictures and training statistics past an iteration.

        Training resumes there.

        Returns:
            the iterations whose scores were discarded.
        """
        self._settle()
        training_records.withdraw_training_stats(self.filesystem, run, iteration)
        past = {pictured for pictured, _ in self.pictures(run) if pictured > iteration}
        picture_records.delete_pictures(self.filesystem, run, past)
        return scores_records.withdraw_scores_after(self.filesystem, run, iteration)

    # protection

    def pin(
        self,
        run: str,
        iteration: int,
        *,
        why: str | None = None,
        by: str | None = None,
        child: str | None = None,
    ) -> None:
        """Keep a checkpoint until it is unpinned; a ``child`` that starts from it pins for itself.

        Raises:
            FileNotFoundError: no such checkpoint.
        """
        self._settle()
        checkpoint_flags.pin(self.filesystem, run, iteration, why=why, by=by, child=child)

    def unpin(self, run: str, iteration: int, *, child: str | None = None) -> None:
        """
        Raises:
            FileNotFoundError: it is not pinned.
        """
        checkpoint_flags.unpin(self.filesystem, run, iteration, child=child)

    def pins(self, run: str) -> dict[int, list[Pin]]:
        """Iteration → its pins, by hand and by children.

        Raises:
            FileNotFoundError: no such run.
        """
        found = run_inventory.read_pins(self.filesystem, layout.check_run_name(run))
        if not found:
            run_inventory.require_run(self.filesystem, run)
        return found

    def request_validation(
        self, run: str, iteration: int, *, within: timedelta, by: str | None = None
    ) -> None:
        """Protect a checkpoint until `end_validation`, for a limited time.

        Raises:
            FileNotFoundError: no such checkpoint.
        """
        self._settle()
        expires = datetime.now(UTC) + within
        checkpoint_flags.request_validation(self.filesystem, run, iteration, expires=expires, by=by)

    def end_validation(self, run: str, iteration: int) -> None:
        """End the request: the scores are stored and the best is derived from them.

        Ended any earlier, a pruner could delete what is about to become the best. Harmless when
        none was requested.
        """
        layout.check_run_name(run)
        checkpoint_flags.settle_validation(self.filesystem, run, layout.check_iteration(iteration))

    def pending(self, run: str) -> list[int]:
        """Iterations that wait for a requested validation."""
        flags = checkpoint_flags.read_flags(self.filesystem, layout.check_run_name(run))
        now = datetime.now(UTC)
        return sorted(i for i, r in flags.pending.items() if r is None or now < r.expires)

    # restoring and sweeping

    def restore(self, run: str, iteration: int, *, by: str | None = None) -> bool:
        """Bring back a checkpoint that was pruned and is within its grace period, and pin it.

        No prune and no sweep takes it until it is unpinned.

        Returns:
            False when it was there and not pruned, so that nothing had to be done.

        Raises:
            RestoreError: it is gone; says when, why and by whom.
        """
        self._settle()
        return trash.restore(self.filesystem, run, iteration, by=by, keep=True)

    def sweep(self, run: str | None = None, *, by: str | None = None) -> dict[str, Sweep]:
        """Delete what is past its grace period and not protected, and what dead writers left.

        Args:
            run: only this one; default all runs of the store.

        Returns:
            run → what was done.

        Raises:
            FileNotFoundError: no such store, or no such run.
            SweepError: of all runs, some could not be swept; the others were. It names each.
        """
        self._settle()
        if run is not None:
            return {run: trash.sweep_run(self.filesystem, run, by=by)}
        self.require_store()
        swept: dict[str, Sweep] = {}
        failed: dict[str, Exception] = {}
        for each in self.runs():
            try:
                swept[each] = trash.sweep_run(self.filesystem, each, by=by)
            except (StoreError, OSError) as error:
                failed[each] = error
        if failed:
            raise SweepError(swept, failed)
        return swept

    def history(self, run: str) -> history.RunHistory:
        """What became of each checkpoint that there is or that is on record."""
        self._settle()
        return history.read_history(self.filesystem, run)
