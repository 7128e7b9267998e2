"""A process of a group that trains one run: rank 0 leads by what it is given, the others follow."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dacapo_core.training.launch import NOT_AGAIN, end_with_the_parent, is_first
from flows.run_at_terminal import EXPECTED, PASSING, RECURRING


def take_part_at_terminal(configuration: Mapping[str, Any], lead: Callable[[], None]) -> None:
    """As `take_part`, for a person who started the launcher and reads what it says.

    Raises:
        SystemExit: what a person can put right, with one line. What the same command would meet
            again ends the launchers of all machines; after anything else they start again.
    """
    try:
        take_part(configuration, lead, exit_code_of)
    except EXPECTED as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise SystemExit(exit_code_of(error)) from None


def exit_code_of(error: BaseException) -> int:
    """By which a process of a group ends: whether the launcher is to start all again."""
    recurs = isinstance(error, RECURRING) and not isinstance(error, PASSING)
    return NOT_AGAIN if recurs else 1


def take_part(
    configuration: Mapping[str, Any],
    lead: Callable[[], None],
    exit_code: Callable[[BaseException], int],
) -> None:
    """Join the group that torch's launcher started this process for, and end with it.

    Args:
        configuration: what this process was told to train, as JSON has it.
        lead: what to do as rank 0.
        exit_code: how this process will exit by an error, so that the others do the same.

    Raises:
        GroupError: the processes do not fit together, or cannot reach each other.
        ProcessDiedError: another process is gone.
        SystemExit: rank 0 ends by an error.
    """
    from dacapo_core.settings import get_settings
    from dacapo_core.training.follower_ranks import follow
    from dacapo_core.training.process_group import device_of_process, join

    end_with_the_parent()
    if not is_first():
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    device = device_of_process(get_settings().device)
    processes = join(device, configuration)
    code = 0
    try:
        if processes.rank == 0:
            lead()
        else:
            follow(processes, device)
    except BaseException as error:
        code = exit_code(error)
        raise
    finally:
        processes.leave(code)
