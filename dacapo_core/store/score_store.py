"""What a store's runs are judged to be: bests, scores, pictures."""

from __future__ import annotations

from typing import Any

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning import run_inventory
from dacapo_core.store.records import (
    best_lookup,
    best_records,
    forget,
    name_collisions,
    picture_records,
    scores_records,
)
from dacapo_core.store.records.checkpoint_identity import CheckpointIdentity
from dacapo_core.store.records.scores import BestRecord, Judged, ScoresRecord, best_record


class ScoreStore:
    """The part of a store that says what is best.

    Attributes:
        filesystem: the files of the store.
    """

    filesystem: StoreFilesystem
    _seen: dict[tuple[str, int], CheckpointIdentity]
    """The file of each checkpoint that this store has loaded or stored last."""

    def _settle(self) -> None:
        """Called before checkpoints are looked at: let those in the making be seen."""

    def store_best(
        self,
        run: str,
        iteration: int,
        dataset: Any,
        criterion: str,
        *,
        score: float | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        """Move the best of a dataset and criterion to a checkpoint.

        Raises:
            FileNotFoundError: no such checkpoint; the best is unmoved.
            DamagedCheckpointError: it is on record as damaged; the best is unmoved.
            InvalidNameError: a name that the layout cannot hold, or that leads to another's file.
            InvalidValueError: a score that is no finite number, or parameters that JSON cannot
                hold; the best is unmoved.
        """
        self._settle()
        iteration = layout.check_iteration(iteration)
        record = best_record(iteration, score, parameters)
        name = _name(dataset)
        layout.check_run_name(run)
        name_collisions.check_judged(self.filesystem, run, name, criterion)
        best_records.write_best(self.filesystem, run, name, criterion, record)
        name_collisions.claim_dataset(self.filesystem, run, name)

    def retrieve_best(self, run: str, dataset: Any, criterion: str) -> int:
        """The iteration of the best checkpoint for a dataset (name, or object with a ``name``).

        Raises:
            FileNotFoundError: there is no such best record, or its checkpoint is gone.
        """
        return self.best_record(run, dataset, criterion).iteration

    def best_record(self, run: str, dataset: Any, criterion: str) -> BestRecord:
        """The best with its score and post-processing parameters, where they are known.

        Raises:
            FileNotFoundError: there is no such best record, or its checkpoint is gone.
        """
        self._settle()
        name = _name(dataset)
        layout.check_run_name(run)
        # without one it is the name that listings have
        if "/" in name:
            name_collisions.check_dataset(self.filesystem, run, name)
        return best_lookup.read_best(self.filesystem, run, name, criterion)

    def best_records(self, run: str) -> dict[Judged, BestRecord]:
        """(dataset, criterion) → best, of all there are; also of checkpoints that are gone.

        Those whose checkpoint another of the same iteration has replaced say so: ``replaced``.

        Raises:
            FileNotFoundError: no such run.
        """
        self._settle()
        found = best_lookup.read_all_best(self.filesystem, layout.check_run_name(run))
        if not found:
            run_inventory.require_run(self.filesystem, run)
        return found

    def store_scores(self, run: str, iteration: int, dataset: Any, scores: ScoresRecord) -> None:
        """Keep the scores of a checkpoint in place of earlier ones of the same dataset.

        They are of the checkpoint that this store has loaded or stored last under this iteration,
        else of the one that is there. Where that was replaced meanwhile, they are kept for the
        history alone.

        Raises:
            InvalidNameError: a name that the layout cannot hold, or that leads to another's file.
        """
        self._settle()
        judged = self._seen.get((run, iteration))
        name = _name(dataset)
        layout.check_run_name(run)
        name_collisions.check_dataset(self.filesystem, run, name)
        scores_records.write_scores(self.filesystem, run, iteration, name, scores, judged)
        name_collisions.claim_dataset(self.filesystem, run, name)

    def scores(self, run: str) -> list[ScoresRecord]:
        """All scores of a run, by iteration and dataset; none of checkpoints that were replaced.

        Raises:
            DamagedRecordError: one cannot be read.
        """
        return scores_records.read_all_scores(self.filesystem, run)

    def derive_best(self, run: str) -> dict[Judged, BestRecord]:
        """Move every best to what the scores of the live checkpoints say; those that moved."""
        self._settle()
        return scores_records.derive_best(self.filesystem, layout.check_run_name(run))

    def forget(
        self,
        run: str,
        dataset: Any = None,
        criterion: str | None = None,
        *,
        by: str | None = None,
    ) -> list[Judged]:
        """Drop the bests and scores of a dataset, of a criterion, or of one on the other.

        What DaCapo reads of them goes too. The history knows what was dropped, by whom.

        Returns:
            (dataset, criterion) of what was forgotten.

        Raises:
            FileNotFoundError: no such run, or it knows none of them.
            InvalidNameError: neither is given, or no such name can be.
        """
        self._settle()
        run_inventory.require_run(self.filesystem, layout.check_run_name(run))
        name = None if dataset is None else _name(dataset)
        forgotten = forget.forget(self.filesystem, run, name, criterion, by=by)
        if name is not None and criterion is None:
            path = layout.DATASET_NAMES.path(run, layout.check_dataset_name(name))
            self.filesystem.delete_all([path])
        return forgotten

    def store_picture(self, run: str, iteration: int, dataset: Any, png: bytes) -> None:
        """Keep a picture of a validation, beside those of the newest few and of the best."""
        records = best_lookup.read_all_best(self.filesystem, layout.check_run_name(run))
        best = picture_records.overall_best(
            {judged: record for judged, record in records.items() if not record.replaced}
        )
        picture_records.write_picture(self.filesystem, run, iteration, _name(dataset), png, best)

    def pictures(self, run: str) -> list[tuple[int, str]]:
        """(iteration, dataset) of each picture that is kept, in order."""
        return picture_records.list_pictures(self.filesystem, run)

    def picture(self, run: str, iteration: int, dataset: Any) -> bytes:
        """A picture of a validation, as PNG.

        Raises:
            FileNotFoundError: there is none, or it had to make room.
        """
        return picture_records.read_picture(self.filesystem, run, iteration, _name(dataset))


def _name(dataset: Any) -> str:
    """A dataset's name, given by itself or by an object."""
    name = dataset if isinstance(dataset, str) else getattr(dataset, "name", None)
    if not isinstance(name, str):
        raise TypeError(f"dataset must be a name or an object with a name, not {dataset!r}")
    return name
