"""The weights of a checkpoint that its scores were measured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from dacapo_core.store.local_weights_store import LocalWeightsStore

WhichWeights = Literal["model", "average"]

PREFIX = "module."


def retrieve_judged_weights(
    store: LocalWeightsStore, run: str, iteration: int
) -> tuple[dict[str, torch.Tensor], WhichWeights]:
    """The moving average where the run keeps one (``trainer_config.ema_decay``), else the model.

    That is what validation judges, so it is what a score, and a best record, speak of. Without a
    moving average only the model's tensors are read.

    Raises:
        FileNotFoundError: no such run or checkpoint.
        DamagedCheckpointError: it does not verify.
    """
    if keeps_average(store.run_config(run)):
        average = averaged(store.retrieve_weights(run, iteration).extra)
        if average is not None:
            return average, "average"
    return store.retrieve_model(run, iteration), "model"


def keeps_average(run_config: Mapping[str, Any] | None) -> bool:
    """Whether a stored run configuration asks for a moving average of the weights."""
    trainer = (run_config or {}).get("trainer_config")
    return isinstance(trainer, Mapping) and trainer.get("ema_decay") is not None


def averaged(extra: Mapping[str, Any]) -> dict[str, torch.Tensor] | None:
    """The model's state dict with averaged weights, of a run's extra state.

    None where there is no average, or none has been taken yet: then the model itself is judged.
    """
    average = extra.get("average")
    if average is None or not int(average["n_averaged"]):
        return None
    return {
        key.removeprefix(PREFIX): value for key, value in average.items() if key.startswith(PREFIX)
    }
