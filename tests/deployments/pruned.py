"""A run with checkpoints to let go of, pruned by the deployment: first rehearsed, then done."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

from tests.deployments.site import Site, kill, wait_for

POLICY = {"keep_last": 1, "keep_best": 1, "grace": "7d"}
ITERATIONS = range(8, 72, 8)
BEST = 40


@dataclass(frozen=True)
class Pruned:
    """The flow runs that pruned it, by id."""

    rehearsal: str
    pruning: str


def store_run(site: Site, run: str) -> None:
    """Eight checkpoints of half a megabyte, the fifth of which is the best."""
    import torch

    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.records.scores import ScoreEntry, ScoresRecord

    store = LocalWeightsStore(site.folder / "runs")
    model = torch.nn.Linear(350, 350)
    trained = SimpleNamespace(name=run, model=model, optimizer=torch.optim.SGD(model.parameters()))
    for iteration in ITERATIONS:
        store.store_weights(trained, iteration)
        far = abs(iteration - BEST) / 100
        scores = ScoresRecord(
            iteration=iteration,
            dataset="cell_4",
            criteria={"f1_score": True, "voi": False},
            entries=[ScoreEntry(scores={"f1_score": 0.9 - far, "voi": 0.2 + far})],
        )
        store.store_scores(run, iteration, "cell_4", scores)
    store.derive_best(run)


def prune_twice(site: Site, run: str) -> Pruned:
    """Rehearse a pruning of the run and carry it out, on a worker that takes what needs no GPU."""
    store_run(site, run)
    worker = site.start(
        *("prefect", "worker", "start", "--pool", "gpu", "--work-queue", "light"),
        *("--limit", "1", "--name", "light"),
    )
    ids = []
    for dry_run in (True, False):
        id = site.deployment_run("prune/nightly", runs=run, policy=POLICY, dry_run=dry_run)
        done = site.ended(id)
        assert done["state_type"] == "COMPLETED", done["state"]["message"]
        # its process is sending the last of its log
        wait_for(
            "its log", 30, lambda id=id: any("Completed('" in line for line in site.logged(id))
        )
        ids.append(id)
    kill(worker)
    return Pruned(*ids)
