"""A process of a group that trains one run: rank 0 leads by what it is given, the others follow."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any


def take_part(configuration: Mapping[str, Any], lead: Callable[[], None]) -> None:
    """Join the group that torch's launcher started this process for, and end with it.

    Args:
        configuration: what this process was told to train, as JSON has it.
        lead: what to do as rank 0.

    Raises:
        GroupError: the processes do not fit together, or cannot reach each other.
        ProcessDiedError: another process is gone.
    """
    from dacapo_core.settings import get_settings
    from dacapo_core.training.follower_ranks import follow
    from dacapo_core.training.launch import end_with_the_parent, is_first
    from dacapo_core.training.process_group import device_of_process, join

    end_with_the_parent()
    if not is_first():
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    device = device_of_process(get_settings().device)
    processes = join(device, configuration)
    try:
        if processes.rank == 0:
            lead()
        else:
            follow(processes, device)
    finally:
        processes.leave()
