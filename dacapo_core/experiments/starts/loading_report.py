"""What a start loaded, tensor by tensor."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dacapo_core.store.records.score_names import in_words

Shape = tuple[int, ...]


class HeadRow(BaseModel):
    """A row of the model's head: an output channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str | None = Field(description="The channel's label; None in a head without labels.")
    row: int = Field(description="Its row in the model's head.")
    source: int | None = Field(
        description="The row of the checkpoint's head it was copied from; None: initialised anew."
    )

    @property
    def why_new(self) -> str:
        """Why a row without a source has none."""
        return "no such channel in the checkpoint" if self.label else "no label to match by"


class Reinitialised(BaseModel):
    """A tensor of the model that keeps its initialisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape
    source_shape: Shape | None = Field(None, description="Shape in the checkpoint, if it is there.")
    reason: str
    head: bool = Field(False, description="Whether it belongs to the prediction head.")


class LoadingReport(BaseModel):
    """What came from the checkpoint and what did not, by name and shape.

    Every tensor of the model is in `loaded` or in `reinitialised`, save those of a head of which
    only some rows were found: they are in `head_tensors`, and `head_rows` says which rows.
    """

    model_config = ConfigDict(extra="forbid")

    run: str = Field("", description="The run that the checkpoint is of.")
    criterion: str = Field("", description="How the checkpoint was chosen.")
    iteration: int | None = Field(None, description="The iteration that was loaded.")
    weights: Literal["model", "average"] = Field(
        "model",
        description="Which weights of the checkpoint: the model's own, or their moving average, "
        "which is what validation judges where a run keeps one.",
    )
    store_url: str = Field("", description="The store it came from.")
    digest: str | None = Field(None, description="The checkpoint's digest, where one is recorded.")
    policy: Literal["matching", "strict"] = "matching"
    floor: float = Field(0.9, description="Share of the body below which a start is an error.")
    loaded: dict[str, Shape] = Field(
        default_factory=dict,
        description="Tensors that came whole from the checkpoint: key in the model -> shape.",
    )
    renamed: dict[str, str] = Field(
        default_factory=dict,
        description="Those of `loaded` and `head_tensors` with another name in the checkpoint: "
        "key in the model -> key there.",
    )
    head_tensors: dict[str, Shape] = Field(
        default_factory=dict, description="Tensors of the head, loaded row by row."
    )
    head_rows: list[HeadRow] = Field(
        default_factory=list, description="Each output channel and where its row came from."
    )
    unused_labels: list[str] = Field(
        default_factory=list, description="Channels of the checkpoint that the model has not."
    )
    reinitialised: dict[str, Reinitialised] = Field(
        default_factory=dict, description="Tensors kept at their initialisation."
    )
    left_over: dict[str, Shape] = Field(
        default_factory=dict, description="Tensors of the checkpoint that were not used."
    )
    share_loaded: float = Field(0.0, description="Share of the model's parameters loaded.")
    body_share_loaded: float = Field(0.0, description="The same without the head.")

    @property
    def matched_labels(self) -> list[str]:
        """Labels whose rows came from the checkpoint."""
        return [row.label for row in self.head_rows if row.label and row.source is not None]

    @property
    def new_labels(self) -> list[str]:
        """Labels whose rows are initialised anew."""
        return [row.label for row in self.head_rows if row.label and row.source is None]

    def summary(self) -> str:
        """The report in a few lines, for a log."""
        lines = [
            f"start {self.named()}"
            + (", the moving average" if self.weights == "average" else "")
            + f": {percentage(self.share_loaded)} of the parameters loaded, "
            f"{percentage(self.body_share_loaded)} of the body; {len(self.loaded)} tensors whole"
            + (f", {len(self.renamed)} under other names" if self.renamed else "")
        ]
        if self.head_rows:
            lines.append(f"head: {self.head_summary()}")
        if self.reinitialised:
            lines.append("kept at initialisation: " + _shorten(list(self.reinitialised)))
        if self.left_over:
            lines.append("tensors not used: " + _shorten(list(self.left_over)))
        return "\n".join(lines)

    def named(self) -> str:
        """``demo, best by F1 score on val 0 (iteration 160)``; ``setup04/1820500``."""
        named = f"{self.run}/{self.criterion}"
        if "/" in self.criterion and not self.criterion.startswith("iterations/"):
            named = f"{self.run}, best by {in_words([self.criterion])}"
        if self.iteration is None or str(self.iteration) == self.criterion:
            return named
        return f"{named} (iteration {self.iteration})"

    def head_summary(self) -> str:
        """What became of the head's channels, and of the checkpoint's, in a line."""
        matched = [row for row in self.head_rows if row.source is not None]
        if all(row.label is None for row in self.head_rows):
            taken = "taken whole" if matched else "initialised anew"
            return f"{len(self.head_rows)} channels without labels, {taken}"
        parts = [f"{len(matched)} of {len(self.head_rows)} channels matched by label"]
        if matched:
            parts.append(_shorten([f"{row.label} {row.source}→{row.row}" for row in matched]))
        if self.new_labels:
            parts.append("new: " + _shorten(self.new_labels))
        if self.unused_labels:
            parts.append("not used: " + _shorten(self.unused_labels))
        return "; ".join(parts)

    def table(self) -> list[dict[str, str]]:
        """One row a tensor and a head channel, for a table: what, tensor, shape, from, reason."""

        def line(what: str, tensor: str, shape: Shape | None, source: str, why: str = "") -> dict:
            text = "×".join(str(size) for size in shape) if shape is not None else ""
            return {"what": what, "tensor": tensor, "shape": text, "from": source, "why": why}

        rows = [
            line(
                "renamed" if key in self.renamed else "loaded",
                key,
                shape,
                self.renamed.get(key, key),
            )
            for key, shape in self.loaded.items()
        ]
        for row in self.head_rows:
            name = f"head row {row.row}" + (f": {row.label}" if row.label else "")
            if row.source is None:
                rows.append(line("new", name, None, "", row.why_new))
            else:
                rows.append(line("head row", name, None, f"row {row.source}"))
        for key, kept in self.reinitialised.items():
            source = "×".join(str(size) for size in kept.source_shape or ())
            rows.append(line("initialised", key, kept.shape, source, kept.reason))
        rows += [
            line("not used", f"channel {label}", None, "", "the model has no such channel")
            for label in self.unused_labels
        ]
        rows += [line("not used", key, shape, key) for key, shape in self.left_over.items()]
        return rows


def percentage(share: float) -> str:
    """A share as a person reads it, rounded down: 100.0% is all, and nothing less."""
    return f"{math.floor(share * 1000) / 10:.1f}%"


def _shorten(names: list[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
