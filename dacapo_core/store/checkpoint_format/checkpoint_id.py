"""A checkpoint's name in messages, and the errors that carry it."""

from __future__ import annotations

from dataclasses import dataclass

from dacapo_core.store.errors import DamagedCheckpointError


@dataclass(frozen=True)
class CheckpointId:
    """A checkpoint by run and iteration, and where it is."""

    run: str
    iteration: int
    url: str

    def __str__(self) -> str:
        return f"checkpoint {self.iteration} of run {self.run!r} ({self.url})"

    def damaged(
        self,
        expected: str,
        found: str,
        problem: str = "is damaged",
        kind: type[DamagedCheckpointError] = DamagedCheckpointError,
    ) -> DamagedCheckpointError:
        """The error that names the checkpoint, what was expected and what was found."""
        return kind(
            f"{self} {problem}: expected {expected}, found {found}. "
            "Use latest_iteration(run, verified=True) for the newest that is whole",
            run=self.run,
            iteration=self.iteration,
            path=self.url,
            expected=expected,
            found=found,
        )
