"""A flow in this process, for a person at a terminal."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayUnreachableError
from dacapo_core.store.errors import (
    LeaseHeldError,
    NewerFormatError,
    StoreError,
    UnsafeCheckpointError,
)
from dacapo_core.training.errors import (
    OutOfMemoryError,
    ProcessDiedError,
    TrainingDivergedError,
)
from flows.embedded_prefect import AlreadyRunningError, embedded_prefect

EXPECTED = (
    AlreadyRunningError,
    StoreError,
    TrainingDivergedError,
    OutOfMemoryError,
    ProcessDiedError,
    ValueError,
    OSError,
)
INTERRUPTED = 130
# the same command would meet them again
RECURRING = (
    AlreadyRunningError,
    LeaseHeldError,
    TrainingDivergedError,
    OutOfMemoryError,
    UnsafeCheckpointError,
    NewerFormatError,
    ValueError,
    FileNotFoundError,
)
# of those, what may be over the next time
PASSING = (ProcessDiedError, ArrayUnreachableError)


def run_at_terminal(flow: str, folder: Path | None, **parameters: Any) -> Any:
    """Run ``flows.<flow>.<flow>`` in this process and return its result.

    An error that a person can put right ends the process with one line; the flow run's log has
    the whole traceback.

    Args:
        folder: of a Prefect server of this process's own. None uses the server of
            ``PREFECT_API_URL``, and one in ``.prefect`` where that is not set.
    """
    try:
        return run_flow(flow, folder, **parameters)
    except EXPECTED as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    except KeyboardInterrupt:
        print("\nStopped. The same command continues from the last checkpoint.")
        raise SystemExit(INTERRUPTED) from None


def run_flow(flow: str, folder: Path | None, **parameters: Any) -> Any:
    """As `run_at_terminal`, with errors as they are raised.

    Raises:
        SystemExit: the flow run was cancelled or suspended.
        Exception: what the flow raised.
    """
    prefect: AbstractContextManager[None]
    if folder is None and os.environ.get("PREFECT_API_URL"):
        prefect = nullcontext()
    else:
        prefect = embedded_prefect((folder or Path(".prefect")).resolve())
    with prefect:
        return _call(getattr(importlib.import_module(f"flows.{flow}"), flow), parameters)


def _call(flow: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    # prefect is imported late: the server's settings must be in the environment first
    from prefect.exceptions import Abort, Pause

    try:
        return flow(**parameters)
    except (Abort, Pause) as ended:
        how = "suspended" if isinstance(ended, Pause) else "cancelled"
        print(f"\nThe flow run was {how}. The same command continues from the last checkpoint.")
        raise SystemExit(INTERRUPTED) from None
