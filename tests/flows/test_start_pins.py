"""A start is pinned until the run that uses it has a checkpoint of its own, whatever happens."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import StartConfig, StartError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.training.run import Run
from flows.finetune import finetune
from flows.train import train
from tasks.runtime.runs_in_training import run_in_training
from tasks.runtime.start_pins import open_start, release_start

pytestmark = pytest.mark.prefect


def from_source(config: RunConfig, **start: Any) -> RunConfig:
    values = {"run": "source", "criterion": "latest", **start}
    return config.model_copy(update={"name": "child", "start_config": StartConfig(**values)})


class Watch:
    """Looks at a folder all the time: what is pinned before the first checkpoint, and after."""

    def __init__(self, folder: Path) -> None:
        self.pinned: set[tuple[int, ...]] = set()
        self._pins = folder / "source" / "records" / "pins"
        self._checkpoints = folder / "child" / "checkpoints" / "iterations"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.wait(0.005):
            if self._checkpoints.is_dir() and any(self._checkpoints.iterdir()):
                return
            if self._pins.is_dir() and any(self._pins.iterdir()):
                self.pinned.add(tuple(LocalWeightsStore(self._pins.parents[2]).pins("source")))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@pytest.mark.slow
def test_a_start_is_pinned_until_the_first_checkpoint_and_a_failed_one_is_let_go(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    tiny = tiny.model_copy(update={"num_iterations": 2})
    train(tiny.model_copy(update={"name": "source"}), str(tmp_path))
    store = LocalWeightsStore(tmp_path)

    other = {**tiny.architecture_config.model_dump(), "num_fmaps": 6}
    unfit = RunConfig.model_validate(
        from_source(tiny).model_dump() | {"architecture_config": other}
    )
    with pytest.raises(StartError, match="another architecture"):
        finetune(unfit, None, str(tmp_path))
    assert store.pins("source") == {}
    assert store.iterations("child") == []
    assert store.start_report("child") is None

    # the same name, put right: nothing was begun, so nothing stands in the way
    with Watch(tmp_path) as watch:
        finetune(from_source(tiny), None, str(tmp_path))
    assert watch.pinned == {(2,)}
    assert store.pins("source") == {}
    assert store.iterations("child") == [2]


def test_the_store_that_is_open_is_used_for_a_start_in_it(tmp_path: Path, tiny: RunConfig) -> None:
    with run_in_training("child", 2, str(tmp_path), owner="test") as current:

        def opened(store_url: str | None) -> LocalWeightsStore:
            run = from_source(tiny, store_url=store_url)
            assert run.start_config is not None
            return open_start(current, run.start_config).store()

        for url in (None, current.store.basedir):
            assert opened(url) is current.store
        assert opened(str(tmp_path / "other")).basedir == str(tmp_path / "other")


@pytest.mark.parametrize("report", ["{}", '{"run": "other"}', "{", "[" * 100_000])
def test_a_damaged_record_of_the_start_does_not_stop_a_run_that_has_a_checkpoint(
    tmp_path: Path, tiny: RunConfig, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_in_training("child", 2, str(tmp_path), owner="test") as current:
        current.built = Run(tiny.model_copy(update={"name": "child"}), "cpu")
        record = tmp_path / "child" / "records" / "start.json"
        record.write_text(report)
        current.start_pinned = True
        notes: list[str] = []
        monkeypatch.setattr(current.progress, "note", notes.append)
        release_start(current)
        assert "its record is damaged" in notes[0]
        assert not current.start_pinned
