"""Files with random damage: told by a typed error, or harmless to the last bit."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import StoreError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from tests.campaign_figures import Campaign
from tests.store.conftest import SmallRun, equal, write_score

FILE = "run/checkpoints/iterations/7"
SAMPLE = 60


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Damage as disks, networks, copies and editors do it."""
    bad = bytearray(content)
    size = len(bad)
    at, length = chance.randrange(size), min(chance.choice([1, 4, 64, 512, 4096]), size)
    kind = chance.randrange(9)
    if kind == 0:
        bad[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        bad[at] = chance.randrange(256)
    elif kind == 2:
        bad[at : at + length] = bytes(length)
    elif kind == 3:
        bad[at : at + length] = chance.randbytes(length)
    elif kind == 4:
        del bad[at:]
    elif kind == 5:
        del bad[at : at + length]
    elif kind == 6:
        bad[at:at] = chance.randbytes(length)
    elif kind == 7:
        other = chance.randrange(size)
        bad[at : at + length] = bad[other : other + length]
    else:
        for _ in range(chance.randrange(2, 20)):
            if bad:
                bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
    return bytes(bad)


def ours(tmp_path: Path) -> bytes:
    LocalWeightsStore(tmp_path / "source").store_weights(SmallRun(), 7)
    return (tmp_path / "source" / FILE).read_bytes()


def dacapos(tmp_path: Path) -> bytes:
    run = SmallRun()
    buffer = io.BytesIO()
    state = {"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict()}
    torch.save(state, buffer)
    return buffer.getvalue()


KINDS = {"files mutated, ours": ours, "files mutated, DaCapo's": dacapos}


def mutate_checkpoints(
    kind: str, number: int, seed: int, tmp_path: Path, campaign: Campaign
) -> None:
    whole = KINDS[kind](tmp_path)
    store = LocalWeightsStore(tmp_path / "store")
    file = tmp_path / "store" / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(whole)
    expected = vars(store.retrieve_weights("run", 7))
    chance = random.Random(seed)
    for turn in range(number):
        bad = mutated(whole, chance)
        file.unlink()
        file.write_bytes(bad)
        try:
            found = vars(store.retrieve_weights("run", 7))
            harmless = equal(found, expected)
        except StoreError:
            harmless = True
        except BaseException as error:
            campaign.check(False, f"{kind}, seed {seed}, turn {turn}: raw {error!r}")
            continue
        finally:
            campaign.count(kind)
        campaign.check(harmless, f"{kind}, seed {seed}, turn {turn}: another state, silently")


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_mutated_checkpoints(kind: str, tmp_path: Path, campaign: Campaign) -> None:
    mutate_checkpoints(kind, SAMPLE, 1, tmp_path, campaign)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_checkpoints(kind: str, tmp_path: Path, campaign: Campaign) -> None:
    seed = random.SystemRandom().randrange(10**6)
    mutate_checkpoints(kind, 5500, seed, tmp_path, campaign)


def mutate_records(number: int, seed: int, tmp_path: Path, campaign: Campaign) -> None:
    whole = LocalWeightsStore(tmp_path / "whole")
    run = SmallRun()
    for iteration in range(1, 6):
        whole.store_weights(run, iteration)
        write_score(whole, "run", iteration, "dice", iteration / 10)
    whole.derive_best("run")
    whole.pin("run", 2)
    whole.prune("run", RetentionPolicy(keep_last=3, grace=timedelta(days=1)))
    whole.store_run_config("run", {"name": "run"})
    records = sorted((tmp_path / "whole").rglob("*.json"))
    chance = random.Random(seed)
    for turn in range(number):
        folder = tmp_path / "store"
        shutil.copytree(tmp_path / "whole", folder, symlinks=True)
        store = LocalWeightsStore(folder)
        record = folder / chance.choice(records).relative_to(tmp_path / "whole")
        record.write_bytes(mutated(record.read_bytes(), chance))
        said = f"records, seed {seed}, turn {turn}, {record.relative_to(folder)}"
        looks: list[Callable[[], Any]] = [
            lambda store=store: store.history("run"),
            lambda store=store: store.best_records("run"),
            lambda store=store: store.scores("run"),
            lambda store=store: store.pins("run"),
            lambda store=store: store.run_config("run"),
            lambda store=store: store.derive_best("run"),
            lambda store=store: store.prune("run", RetentionPolicy(keep_last=1)),
            lambda store=store: store.sweep("run"),
        ]
        for look in looks:
            try:
                look()
            except StoreError:
                continue
            except BaseException as error:
                campaign.check(False, f"{said}: raw {error!r}")
        campaign.check(2 in store.iterations("run") or "pins" in str(record), f"{said}: pin lost")
        for iteration in store.iterations("run"):
            try:
                store.verify("run", iteration)
            except BaseException as error:
                campaign.check(False, f"{said}: {iteration} no longer verifies: {error!r}")
        campaign.check(5 in store.iterations("run"), f"{said}: the latest is gone")
        campaign.count("records mutated")
        shutil.rmtree(folder)


def test_a_sample_of_mutated_records(tmp_path: Path, campaign: Campaign) -> None:
    mutate_records(5, 1, tmp_path, campaign)


@pytest.mark.campaign
def test_mutated_records(tmp_path: Path, campaign: Campaign) -> None:
    mutate_records(200, random.SystemRandom().randrange(10**6), tmp_path, campaign)
