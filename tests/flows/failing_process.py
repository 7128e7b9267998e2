"""One of the processes of a group: ``torchrun … -m tests.flows.failing_process ERROR``.

As rank 0 it raises that error, whenever it is started.
"""

from __future__ import annotations

import builtins
import sys

from flows.group_ranks import take_part_at_terminal


def lead() -> None:
    raise getattr(builtins, sys.argv[1])("it comes back")


if __name__ == "__main__":
    take_part_at_terminal({}, lead)
