"""The demonstration: ``python -m flows.demo`` trains the default run in this folder's ``demo``.

Run again, it says that the run is complete; killed half-way and run again, it resumes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows.run_at_terminal import run_at_terminal

FOLDER = Path("demo")


def main() -> None:
    """Run the demonstration and say what came of it."""
    folder = FOLDER.resolve()
    print("Starting Prefect …", file=sys.stderr, flush=True)
    summary = run_at_terminal("train", folder, store=str(folder / "runs"))
    print(f"\n{summary}\n\n{what_to_type_next(summary.run)}")


def what_to_type_next(run: str) -> str:
    """The commands that follow on from the demonstration."""
    commands = {
        f".venv/bin/dacapo-store ls {run} --store {FOLDER}/runs": "its checkpoints",
        "make demo": "again: it says that all is done",
        ".venv/bin/python -m flows train my_run.yaml": "a run of your own",
        "make server": "Prefect's pages, schedules and workers",
    }
    width = max(len(command) for command in commands)
    lines = [f"  {command:<{width}}  {what}" for command, what in commands.items()]
    return "\n".join(["What to type next", *lines])


if __name__ == "__main__":
    main()
