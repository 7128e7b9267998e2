"""What a start is worth: ``python -m flows.demo_finetune``, in this folder's ``demo``.

A source learns [mito, mito_mem, er, pm]; [ves, pm, mito] is then learnt in one noisier volume,
from that source and from scratch. Run again, it says that all is done; killed half-way and run
again, it resumes.
"""

from __future__ import annotations

import sys

from flows.demo import FOLDER
from flows.run_at_terminal import run_at_terminal


def main() -> None:
    """Run the demonstration and say what came of it."""
    folder = FOLDER.resolve()
    print("Starting Prefect …", file=sys.stderr, flush=True)
    found = run_at_terminal("compare_with_scratch", folder, store=str(folder / "runs"))
    print(f"\n{found}")


if __name__ == "__main__":
    main()
