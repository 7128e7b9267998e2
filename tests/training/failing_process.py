"""One of the processes of a group whose first fails alone, in the middle of a step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from group_process import lead, main

from dacapo_core.training.processes import Processes
from dacapo_core.training.step_results import Readback


class DeviceLost(RuntimeError):
    """As torch says it of a GPU that has failed."""


def lead_until_the_device_is_lost(processes: Processes, job: Path) -> None:
    finished = Readback.finished

    def lost(readback: Readback, at_most: int) -> Any:
        found = list(finished(readback, at_most))
        if any(each.stats.iteration == 2 for each in found):
            raise DeviceLost("CUDA error: uncorrectable ECC error encountered")
        return found

    Readback.finished = lost  # type: ignore[method-assign, assignment]
    lead(processes, job)


if __name__ == "__main__":
    main(Path(sys.argv[1]), lead_until_the_device_is_lost)
