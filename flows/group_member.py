"""A process of the group that ``flows.group`` started: ``python -m flows.group_member FOLDER``."""

from __future__ import annotations

import hashlib
import pickle
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from prefect.context import hydrated_context
from prefect.exceptions import Abort, Pause, TerminationSignal

from dacapo_core.training.errors import ProcessDiedError
from dacapo_core.training.launch import NOT_AGAIN
from flows.group import CALL, Outcome
from flows.group_ranks import take_part


def main(folder: Path) -> None:
    """Train along; what ends the run, but the death of a process, is left as the outcome."""
    content = (folder / CALL).read_bytes()
    told = {"call": hashlib.sha256(content).hexdigest()}
    try:
        take_part(told, lambda: _lead(pickle.loads(content), folder), _exit_code)
    except ProcessDiedError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    except Exception as error:
        Outcome(error=error).write(folder)
        traceback.print_exc()
        raise SystemExit(NOT_AGAIN) from None


def _exit_code(error: BaseException) -> int:
    """The flow run ends by an error, and whoever runs it decides what becomes of it."""
    died = isinstance(error, ProcessDiedError) or not isinstance(error, Exception)
    return 1 if died else NOT_AGAIN


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
