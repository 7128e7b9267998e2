"""``python -m tests.deployments.take_screenshots``: the pictures of the UI in ``docs/pictures``.

Starts a server and a worker, fine-tunes a small net, looks at each page, and ends them again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.deployments.browser import browser
from tests.deployments.pages import PAGES, look
from tests.deployments.published import finetuned, mirror
from tests.deployments.site import running_site

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
RUN = "mito-from-cosem"


def main() -> None:
    """Take them all."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mirror(Path(folder) / "mirror") as url,
        running_site(Path(folder) / "site", DACAPO_COSEM_URL=url) as site,
    ):
        site.start("deployments", "worker")
        config = finetuned(RUN, num_iterations=60, validation_interval=6)
        done = site.ended(site.deployment_run("finetune/cosem", run=config), seconds=900)
        assert done["state_type"] == "COMPLETED", done["state"]["message"]
        with browser(Path(folder) / "browser") as page:
            for name in PAGES:
                look(page, site, RUN, name, PICTURES)
                print(PICTURES / f"ui-{name}.png")


if __name__ == "__main__":
    main()
