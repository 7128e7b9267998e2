"""Which checkpoint something is said about."""

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
        what: str,
        expected: str,
        found: str,
        kind: type[DamagedCheckpointError] = DamagedCheckpointError,
    ) -> DamagedCheckpointError:
        """The error that says so."""
        return kind(
            f"{self} {what}: expected {expected}, found {found}. "
            "Use latest_iteration(run, verified=True) for the newest that is whole",
            run=self.run,
            iteration=self.iteration,
            path=self.url,
            expected=expected,
            found=found,
        )
