"""The interface of a weights store, and of what it stores (``dacapo.store.weights_store``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol


class TrainedRun(Protocol):
    """What a store takes as a run, such as DaCapo's ``Run`` and ``RunConfig``.

    It may also have:

    - ``extra_state() -> dict``: scheduler, scaler, EMA, random states; stored too, and given back
      as ``Weights.extra``.
    - ``state_fence``: a `StateFence`, on which the run promises to wait before it changes its
      state, so that a GPU computes on while a checkpoint is copied from it.
    - ``gather_state() -> dict | None``: for a state that is spread over several processes, all of
      it, in host memory that stays unchanged until the next call.
    """

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> Any: ...

    @property
    def optimizer(self) -> Any: ...


class Weights:
    """The state of a run at an iteration.

    Attributes:
        model: the model's state dict.
        optimizer: the optimizer's state dict.
        extra: what the run's ``extra_state()`` returned; empty where it offered none.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any]
    extra: dict[str, Any]

    def __init__(
        self,
        model_state_dict: Mapping[str, Any],
        optimizer_state_dict: Mapping[str, Any],
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model_state_dict  # type: ignore[assignment]
        self.optimizer = optimizer_state_dict  # type: ignore[assignment]
        self.extra = {} if extra is None else extra  # type: ignore[assignment]


class WeightsStore(ABC):
    """Base class for network weight stores."""

    def load_weights(self, run: TrainedRun, iteration: int) -> Weights:
        """Load an iteration's weights into the run's model and optimizer.

        Names may differ by the prefixes of ``torch.compile`` and of data parallelism.

        Returns:
            The weights, for their ``extra``; the rest may be on the model's device.

        Raises:
            FileNotFoundError: no such run or iteration.
            WeightsDoNotFitError: names, shapes, types or the optimizer's groups differ; says
                which. Model and optimizer are untouched.
        """
        from dacapo_core.store.checkpoint_format.load_into_model import load_state

        weights = self._weights_for(run, iteration)
        what = f"checkpoint {iteration} of run {run.name!r}"
        fence = getattr(run, "state_fence", None)
        if fence is not None:
            fence.wait()
        load_state(what, run.model, weights.model, run.optimizer, weights.optimizer)
        return weights

    def _weights_for(self, run: TrainedRun, iteration: int) -> Weights:
        """The weights, where they are to be loaded from."""
        return self.retrieve_weights(run.name, iteration)

    def load_best(self, run: TrainedRun, dataset: Any, criterion: str) -> Weights:
        """Load the best weights for a dataset and criterion into the run.

        Returns:
            The weights as stored, for their ``extra``.

        Raises:
            FileNotFoundError: there is no such best record, or no such checkpoint.
            WeightsDoNotFitError: as `load_weights`.
        """
        return self.load_weights(run, self.retrieve_best(run.name, dataset, criterion))

    @abstractmethod
    def latest_iteration(self, run: str) -> int | None:
        """The latest iteration with a checkpoint; None without any."""

    @abstractmethod
    def store_weights(self, run: TrainedRun, iteration: int) -> None:
        """Store the weights of a run."""

    @abstractmethod
    def retrieve_weights(self, run: str, iteration: int) -> Weights:
        """The weights of a run at an iteration.

        Raises:
            FileNotFoundError: no such run or iteration.
        """

    @abstractmethod
    def remove(self, run: str, iteration: int) -> None:
        """Remove a checkpoint.

        Raises:
            FileNotFoundError: no such run or iteration.
        """

    @abstractmethod
    def retrieve_best(self, run: str, dataset: Any, criterion: str) -> int:
        """The iteration of the best checkpoint for a dataset (name, or object with a ``name``).

        Raises:
            FileNotFoundError: there is no such best record.
        """
