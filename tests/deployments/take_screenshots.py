"""``python -m tests.deployments.take_screenshots FOLDER``: pictures for the documentation.

Starts a server and two workers in a new folder, which the pictures show as the place of the store,
such as ``/data/em``; trains the default net and fine-tunes a small one, looks at each page, ends
them again, and deletes the folder.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.deployments.browser import browser
from tests.deployments.pages import look
from tests.deployments.pruned import prune_twice
from tests.deployments.published import finetuned, mirror
from tests.deployments.site import running_site

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
TRAINED, FINETUNED, PRUNED = "first", "mito-from-cosem", "mito-s2"
SHOWN = {
    "index": TRAINED,
    "form": TRAINED,
    "form-start": TRAINED,
    "report": TRAINED,
    "store": TRAINED,
    "pruning": TRAINED,
    "rehearsal": PRUNED,
    "pruning-summary": PRUNED,
    "events": TRAINED,
    "start": FINETUNED,
    "block": TRAINED,
}


def main() -> None:
    """Take them all."""
    shown = Path(sys.argv[1])
    shown.mkdir(parents=True)
    try:
        take(shown)
    finally:
        shutil.rmtree(shown)


def take(shown: Path) -> None:
    """Take them all of a site in a folder."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mirror(Path(folder) / "mirror") as url,
        running_site(shown, DACAPO_COSEM_URL=url) as site,
    ):
        for device in "01":
            site.start("deployments", "worker", "--device", device)
        asked = [
            site.deployment_run("train/default", run={"name": TRAINED, "num_iterations": 192}),
            site.deployment_run("finetune/cosem", run=finetuned(FINETUNED, 12, 6)),
        ]
        for id in asked:
            done = site.ended(id, seconds=900)
            assert done["state_type"] == "COMPLETED", done["state"]["message"]
        prune_twice(site, PRUNED)
        with browser(Path(folder) / "browser") as page:
            for name, run in SHOWN.items():
                look(page, site, run, name, PICTURES)
                print(PICTURES / f"ui-{name}.png")


if __name__ == "__main__":
    main()
