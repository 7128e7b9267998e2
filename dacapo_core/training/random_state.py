"""The state of torch's random generators that belongs to a run, apart from the process's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class RandomState:
    """The generators of the CPU and, for a run on a GPU, of that device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._state: dict[str, torch.Tensor] = {}

    @contextmanager
    def forked(self) -> Iterator[None]:
        """Within, what torch draws changes no generator for what comes after."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within, torch's generators are the run's own; outside they are as they were."""
        with self.forked():
            torch.set_rng_state(self._state["cpu"])
            if "cuda" in self._state and self._device.type == "cuda":
                torch.cuda.set_rng_state(self._state["cuda"], self._device)
            try:
                yield
            finally:
                self.take()

    def take(self) -> None:
        """Take over the generators as they are now."""
        self._state = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            self._state["cuda"] = torch.cuda.get_rng_state(self._device)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Device type → the state of its generator."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up what `state_dict` gave, on any device."""
        self._state = {name: value.cpu() for name, value in state.items()}
