"""A store on each backend with its files beside it, and runs small enough to store often."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord


@dataclass(frozen=True)
class Backend:
    """Where a store is, and its files without the store."""

    url: str
    storage_options: dict[str, Any] = field(default_factory=dict)

    def open(self) -> LocalWeightsStore:
        return LocalWeightsStore(self.url, self.storage_options)

    def write(self, path: str, data: bytes) -> None:
        fs, root = self._raw()
        if "s3" not in fs.protocol:
            fs.makedirs(f"{root}/{path}".rpartition("/")[0], exist_ok=True)
        fs.pipe_file(f"{root}/{path}", data)

    def read(self, path: str) -> bytes:
        fs, root = self._raw()
        return bytes(fs.cat_file(f"{root}/{path}"))

    def files(self) -> set[str]:
        fs, root = self._raw()
        prefix = root.strip("/") + "/"
        return {found.strip("/").removeprefix(prefix) for found in fs.find(root)}

    def _raw(self) -> tuple[Any, str]:
        options = {"use_listings_cache": False, **self.storage_options}
        fs, root = fsspec.core.url_to_fs(self.url, **options)
        return fs, root.rstrip("/")


def _local(request: pytest.FixtureRequest) -> Backend:
    return Backend(str(request.getfixturevalue("tmp_path") / "store"))


def _memory(request: pytest.FixtureRequest) -> Backend:
    return Backend(f"memory://{uuid.uuid4().hex}/store")


def _s3(request: pytest.FixtureRequest) -> Backend:
    server = request.getfixturevalue("s3_server")
    bucket = request.getfixturevalue("s3_bucket")
    return Backend(f"{bucket}/{uuid.uuid4().hex}", server.storage_options)


# a further backend joins here
BACKENDS = [
    pytest.param(_local, id="local"),
    pytest.param(_memory, id="memory"),
    pytest.param(_s3, id="s3", marks=[pytest.mark.s3, pytest.mark.slow]),
]


@pytest.fixture(scope="session")
def s3_bucket(s3_server: Any) -> str:
    bucket: str = s3_server.new_folder()
    return bucket


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """An empty store's place, on each backend in turn."""
    made: Backend = request.param(request)
    return made


@pytest.fixture
def store(backend: Backend) -> Iterator[LocalWeightsStore]:
    opened = backend.open()
    yield opened
    opened.close()


@pytest.fixture
def local_store(tmp_path: Path) -> Iterator[LocalWeightsStore]:
    opened = LocalWeightsStore(tmp_path / "store")
    yield opened
    opened.close()


class SmallRun:
    """A run as DaCapo's are, to a store: a name, a model, an optimizer."""

    def __init__(self, name: str = "run", seed: int = 0, width: int = 4) -> None:
        torch.manual_seed(seed)
        self.name = name
        self.model = torch.nn.Sequential(
            torch.nn.Conv3d(1, width, 3), torch.nn.BatchNorm3d(width), torch.nn.Conv3d(width, 2, 1)
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.step()

    def step(self) -> None:
        """Change every parameter, buffer and optimizer state."""
        self.optimizer.zero_grad()
        self.model(torch.randn(2, 1, 6, 6, 6)).square().mean().backward()
        self.optimizer.step()

    def copy_of_state(self) -> tuple[Any, Any]:
        return _copied(self.model.state_dict()), _copied(self.optimizer.state_dict())


class StateRun:
    """A run whose model and optimizer hold whatever state a test wants stored."""

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        optimizer: dict[str, Any] | None = None,
        name: str = "run",
    ) -> None:
        self.name = name
        self.model = _Holder(model if model is not None else {"w": torch.ones(3)})
        self.optimizer = _Holder(optimizer if optimizer is not None else {})


class _Holder:
    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return self.state


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


def equal(a: Any, b: Any) -> bool:
    """Whether two states are the same, keys in order, tensors in type and to the bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


@pytest.fixture
def make_run() -> type[SmallRun]:
    return SmallRun


@pytest.fixture
def make_state_run() -> type[StateRun]:
    return StateRun


@pytest.fixture
def same() -> Callable[[Any, Any], bool]:
    return equal


@pytest.fixture
def mount_small(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of so many bytes and files (0: any number), really."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(size: int, files: int = 0) -> Path:
        options = f"size={size},nr_inodes={files}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        mounted = subprocess.run(command, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", folder], check=True)


class TinyRun:
    """What a store takes as a run."""

    def __init__(self, name: str = "run") -> None:
        self.name = name
        self.model = torch.nn.Linear(2, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)


OpenStore = Callable[[], LocalWeightsStore]


@pytest.fixture
def open_store(backend: Backend) -> OpenStore:
    """Opens the test's own store; each call as another process would."""
    return backend.open


@pytest.fixture
def run() -> TinyRun:
    return TinyRun()


@pytest.fixture
def fill(store: LocalWeightsStore, run: TinyRun) -> Callable[..., None]:
    """Stores checkpoints of iterations, then scores by iteration: ``fill(1, 2, dice={1: 0.5})``."""

    def fill_with(*iterations: int, **scores: dict[int, float | None]) -> None:
        for iteration in iterations:
            store.store_weights(run, iteration)
        for criterion, by_iteration in scores.items():
            for iteration, score in by_iteration.items():
                write_score(store, run.name, iteration, criterion, score)

    return fill_with


def write_score(
    store: LocalWeightsStore, run: str, iteration: int, criterion: str, score: float | None
) -> None:
    record = ScoresRecord.model_validate(
        {
            "iteration": iteration,
            "dataset": f"val_{criterion}",
            "criteria": {criterion: criterion != "voi"},
            "entries": [{"parameters": {"threshold": 0.5}, "scores": {criterion: score}}],
        }
    )
    store.store_scores(run, iteration, record.dataset, record)
