"""Prunes a run when its input says so. Arguments: JSON of {"url", "options", "by"}."""

from __future__ import annotations

import json
import sys

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy

arguments = json.loads(sys.argv[1])
store = LocalWeightsStore(arguments["url"], arguments["options"])
print("ready", flush=True)
sys.stdin.readline()
plan = store.prune("run", RetentionPolicy(keep_last=2, keep_best=1), by=arguments["by"])
print(json.dumps({"kept": list(plan.kept), "failed": plan.failed}), flush=True)
