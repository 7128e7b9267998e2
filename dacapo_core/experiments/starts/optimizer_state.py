"""Carrying over the state of the optimizer that a checkpoint was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dacapo_core.experiments.starts.loading_report import LoadingReport
from dacapo_core.experiments.starts.start_error import StartError

if TYPE_CHECKING:
    from torch.optim import Optimizer

# tells Adam and its kin from SGD: their states cannot be exchanged
MOMENTS = ("betas", "momentum")


def matching_optimizer_state(
    state: Mapping[str, Any], optimizer: Optimizer | None, report: LoadingReport
) -> dict[str, Any]:
    """`state` for `optimizer`, whose own learning rates and other settings stay as they are.

    Parameters are matched by their order, which is the model's; so the whole model must have come
    from the checkpoint, each row of its head from the same row.

    Raises:
        StartError: it did not, or it is the state of another kind of optimizer or other parameters.
    """
    if optimizer is None:
        raise StartError("carry_optimizer is set, but initialize_weights was given no optimizer")
    same_rows = all(row.source == row.row for row in report.head_rows)
    if report.reinitialised or report.left_over or report.unused_labels or not same_rows:
        raise StartError(
            f"the optimizer of {report.run}/{report.criterion} cannot be taken over: the model or "
            "the order of its channels is another. Set carry_optimizer to false"
        )
    kinds = [
        {name for group in groups for name in MOMENTS if name in group}
        for groups in (state.get("param_groups", ()), optimizer.param_groups)
    ]
    if kinds[0] != kinds[1]:
        raise StartError(
            f"the optimizer of {report.run}/{report.criterion} is of another kind than "
            f"{type(optimizer).__name__}: it has {' and '.join(sorted(kinds[0])) or 'no moments'}. "
            "Set carry_optimizer to false"
        )
    saved = [index for group in state.get("param_groups", ()) for index in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    values = {
        index: state["state"][number]
        for index, number in enumerate(saved)
        if number in state["state"]
    }
    if len(saved) != len(parameters) or not all(
        value.shape in ((), parameters[index].shape)
        for index, each in values.items()
        for value in each.values()
        if hasattr(value, "shape")
    ):
        raise StartError(
            f"the optimizer state of {report.run}/{report.criterion} is of {len(saved)} "
            f"parameters and does not fit this optimizer's {len(parameters)}. "
            "Set carry_optimizer to false"
        )
    return {"state": values, "param_groups": optimizer.state_dict()["param_groups"]}
