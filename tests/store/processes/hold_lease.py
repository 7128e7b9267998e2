"""Takes the lease of a run, says so, and holds it until its input ends.

Arguments: JSON of {"url", "options", "owner", "seconds_to_live"}.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta

from dacapo_core.store.errors import LeaseHeldError
from dacapo_core.store.metadata_store import MetadataStore

arguments = json.loads(sys.argv[1])
store = MetadataStore(arguments["url"], arguments["options"])
time_to_live = timedelta(seconds=arguments["seconds_to_live"])
try:
    with store.lease("run", arguments["owner"], time_to_live=time_to_live):
        print("held", flush=True)
        sys.stdin.read()
except LeaseHeldError as error:
    print(f"refused: {error}", flush=True)
