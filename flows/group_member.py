"""A process of the group that ``flows.group`` started: ``python -m flows.group_member FOLDER``."""

from __future__ import annotations

import hashlib
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

from prefect.context import hydrated_context
from prefect.exceptions import Abort, Pause, TerminationSignal

from dacapo_core.training.errors import ProcessDiedError
from flows.group import CALL, Outcome
from flows.group_ranks import take_part


def main(folder: Path) -> None:
    """Train along; what ends the run, but the death of a process, is left as the outcome."""
    content = (folder / CALL).read_bytes()
    told = {"call": hashlib.sha256(content).hexdigest()}
    try:
        take_part(told, lambda: _lead(pickle.loads(content), folder))
    except ProcessDiedError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    except Exception as error:
        Outcome(error=error).write(folder)
        raise


def _lead(call: dict[str, Any], folder: Path) -> None:
    from flows.embedded_prefect import send_what_is_queued
    from flows.training_loop import training_loop

    signal.signal(signal.SIGTERM, _raise)
    with hydrated_context(call["context"]):
        try:
            outcome = Outcome(summary=training_loop(call["run"], *call["arguments"]))
        except Pause as asked:
            outcome = Outcome(paused=asked.state)
        except Abort as asked:
            outcome = Outcome(aborted=str(asked))
        finally:
            send_what_is_queued()
    outcome.write(folder)


def _raise(number: int, _: object) -> None:
    raise TerminationSignal(signal=number)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
