"""The demonstration: ``python -m flows.demo`` trains the default run in this folder's ``demo``.

Run again, it says that the run is complete; killed half-way and run again, it resumes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows.private_prefect import AlreadyRunningError, private_prefect

FOLDER = Path("demo")


def main() -> int:
    """Run the demonstration; 0 when the run is complete."""
    folder = FOLDER.resolve()
    print("Starting Prefect …", file=sys.stderr, flush=True)
    try:
        with private_prefect(folder):
            from dacapo_core.experiments.run_config import RunConfig
            from flows.train import train

            summary = train(RunConfig(), store=str(folder / "runs"))
    except AlreadyRunningError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{summary}\n\n{what_to_type_next(summary.run)}")
    return 0


def what_to_type_next(run: str) -> str:
    """The commands that follow on from the demonstration."""
    return "\n".join(
        [
            "What to type next",
            f"  .venv/bin/dacapo-store ls {run} --store {FOLDER}/runs    its checkpoints",
            "  make demo                                     again: it says that all is done",
            "  .venv/bin/python -m flows train my_run.yaml   a run of your own",
            "  .venv/bin/python -m deployments server        Prefect's pages and schedules",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
