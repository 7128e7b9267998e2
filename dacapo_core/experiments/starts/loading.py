"""Loading what was matched into a model, all of it or nothing: a start's one side effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from dacapo_core.experiments.starts.key_mapping import canonical_keys
from dacapo_core.experiments.starts.loading_report import LoadingReport
from dacapo_core.experiments.starts.model_head import head_prefix, unwrap
from dacapo_core.experiments.starts.start_error import StartError
from dacapo_core.experiments.starts.tensor_matching import check_report, match

if TYPE_CHECKING:
    from torch import Tensor, nn


class Loading(NamedTuple):
    """What will be loaded: its report, and (from, to) of each copy."""

    report: LoadingReport
    copies: list[tuple[Tensor, Tensor]]

    def carry_out(self) -> LoadingReport:
        """Copy the values, in place, so that an optimizer keeps its parameters."""
        import torch

        with torch.no_grad():
            for source, to in self.copies:
                to.copy_(source)
        return self.report


def prepare_loading(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source_labels: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    policy: Literal["matching", "strict"] = "matching",
    floor: float = 0.9,
    run: str = "",
    criterion: str = "",
) -> Loading:
    """Plan what is loaded from `state`, a state dict in any known layout, into `model`.

    Nothing is changed yet, and carrying the plan out cannot fail half-way.

    Args:
        source_labels: labels of the checkpoint's head; None if unknown.
        labels: labels of the model's head; None takes ``model.channels``, where there are any.
        policy: "strict" wants every tensor and every channel, and nothing left over.
        floor: share of the body below which it is an error.
        run, criterion: what to call the checkpoint in messages.

    Raises:
        StartError: the checkpoint does not fit, is damaged, or labels are wrong.
    """
    prefix = head_prefix(model)
    target = model.state_dict()
    tensors = {key: value for key, value in state.items() if hasattr(value, "shape")}
    prefixes = (prefix,) if prefix else ()
    report = match(
        {key: tuple(value.shape) for key, value in tensors.items()},
        {key: tuple(value.shape) for key, value in target.items() if hasattr(value, "shape")},
        source_labels=source_labels,
        labels=labels or getattr(unwrap(model), "channels", None) or None,
        head_prefixes=prefixes,
    )
    report.run, report.criterion = run, criterion
    report.policy, report.floor = policy, floor
    check_report(report)
    _check_copies_agree(tensors, prefixes)
    return Loading(report, _plan_copies(tensors, target, report))


def _plan_copies(
    state: Mapping[str, Tensor], target: Mapping[str, Tensor], report: LoadingReport
) -> list[tuple[Tensor, Tensor]]:
    """(from, to) of every copy, checked so that none can fail half-way."""
    copies = []
    for key in [*report.loaded, *report.head_tensors]:
        source, to = state[report.renamed.get(key, key)], target[key]
        _check_values(report.renamed.get(key, key), source, to)
        if key not in report.head_tensors:
            copies.append((source, to))
    rows = [row for row in report.head_rows if row.source is not None]
    for key in report.head_tensors:
        source, to = state[report.renamed.get(key, key)], target[key]
        copies += [(source[row.source], to[row.row]) for row in rows if row.source is not None]
    return copies


def _check_values(key: str, source: Tensor, to: Tensor) -> None:
    if to.is_meta or source.is_meta:
        raise StartError(f"{key} has no values (meta device): materialise the model first")
    if source.is_floating_point() != to.is_floating_point():
        raise StartError(f"{key} is {source.dtype} in the checkpoint and {to.dtype} in the model")
    # of the two bounds, so that no copy of a large tensor is made
    if (
        source.is_floating_point()
        and source.numel()
        and not all(bound.isfinite() for bound in source.aminmax())
    ):
        raise StartError(f"{key} holds values that are not finite: the checkpoint is no start")


def _check_copies_agree(state: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> None:
    """Refuse copies of one tensor whose values differ; copies that share their memory cannot."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    for name, (first, *others) in canonical_keys(shapes, prefixes).items():
        for key in others:
            a, b = state[first], state[key]
            if a.data_ptr() == b.data_ptr() and a.stride() == b.stride():
                continue
            if not a.equal(b):
                raise StartError(
                    f"the checkpoint holds {name} twice and the copies disagree: {first} and "
                    f"{key} have different values; it is damaged"
                )
