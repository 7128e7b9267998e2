"""One tensor, many names: the canonical name of every key of a model's state dict.

DaCapo 0.3.5 and the published COSEM networks hold each tensor twice (``architecture.unet.X`` and
``chain.0.unet.X``), DaCapo's main branch says ``chain.0.X``, cellmap-models ``backbone.X``, and
wrappers put ``module.`` or ``_orig_mod.`` in front or in between. All of them become ``body.X``; a
head becomes ``head.X``. Normalisation layers and activations shift the numbers of the convolutions
behind them, so convolutions are numbered among themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dacapo_core.store.checkpoint_format.wrapper_prefixes import (
    COMPILED,
    PARALLEL,
    without_wrappers,
)

if TYPE_CHECKING:
    from torch import Tensor

HEADS = ("prediction_head.", "chain.1.")
BODIES = ("architecture.", "chain.0.", "backbone.")

Shape = tuple[int, ...]


def canonical_keys(
    shapes: Mapping[str, Shape], head_prefixes: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Canonical name -> the keys of `shapes` that name this tensor, in their order.

    Args:
        shapes: the shape of each tensor of a state dict.
        head_prefixes: what the head is called, beside the names known here.
    """
    prefixes = (*HEADS, *head_prefixes)
    bare = {key: without_wrappers(key) for key in shapes}
    if len(set(bare.values())) < len(bare):
        # a part of the model is called so itself
        bare = {key: _unwrap(key) for key in shapes}
    parts = {key: _split(bare[key], prefixes) for key in shapes}
    names: dict[str, dict[str, str]] = {"body": {}, "head": {}}
    for key, (part, name) in parts.items():
        names[part][key] = name
    canonical: dict[str, str] = {}
    for key, name in _number_convolutions(names["body"], shapes).items():
        canonical[key] = f"body.{name}"
    for key, name in _name_rows(names["head"], shapes).items():
        canonical[key] = f"head.{name}"
    keys: dict[str, list[str]] = {}
    for key in shapes:
        keys.setdefault(canonical[key], []).append(key)
    return keys


def named_as_in(state: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of DaCapo's `state` under the names that they have in `model`.

    Where the two do not hold the same tensors, `state` as it is, whose names then say what does
    not fit.
    """
    theirs, ours = (
        canonical_keys({key: tuple(value.shape) for key, value in each.items()})
        for each in (state, model)
    )
    if theirs.keys() != ours.keys():
        return dict(state)
    return {key: state[theirs[name][0]] for name, keys in ours.items() for key in keys}


def is_head(name: str) -> bool:
    """Whether a canonical name is of the head."""
    return name.startswith("head.")


def is_row_tensor(name: str) -> bool:
    """Whether a canonical name is of the layer that has one row an output channel."""
    return name in ("head.weight", "head.bias")


def _split(name: str, head_prefixes: tuple[str, ...]) -> tuple[str, str]:
    for prefix in head_prefixes:
        if name.startswith(prefix):
            return "head", name.removeprefix(prefix)
    for prefix in BODIES:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    name = name.removeprefix("unet.")
    # a U-Net that is followed by an upsampling is the first of a sequence
    return "body", re.sub(r"^0\.(?=(l_conv|r_up|r_conv|attention)\.)", "", name)


def _unwrap(name: str) -> str:
    """Without the wrappers around the whole model."""
    while name.startswith((f"{COMPILED}.", f"{PARALLEL}.")):
        name = name.partition(".")[2]
    return name


def _number_convolutions(names: Mapping[str, str], shapes: Mapping[str, Shape]) -> dict[str, str]:
    """``conv_pass.<index>`` -> ``conv_pass.conv<n>`` or ``.norm<n>``; ``up.<index>`` -> ``up``."""
    layers: dict[str, dict[int, bool]] = {}
    for key, name in names.items():
        found = re.fullmatch(r"(.*\bconv_pass)\.(\d+)\.weight", name)
        if found:
            layers.setdefault(found[1], {})[int(found[2])] = len(shapes[key]) > 1
    numbered: dict[tuple[str, int], str] = {}
    for parent, kinds in layers.items():
        convolutions = 0
        for index in sorted(kinds):
            convolutions += kinds[index]
            numbered[parent, index] = f"{'conv' if kinds[index] else 'norm'}{convolutions - 1}"
    canonical = {}
    for key, name in names.items():
        found = re.fullmatch(r"(.*\bconv_pass)\.(\d+)\.(\w+)", name)
        if found and (found[1], int(found[2])) in numbered:
            name = f"{found[1]}.{numbered[found[1], int(found[2])]}.{found[3]}"
        canonical[key] = re.sub(r"(^|\.)up\.\d+\.(?=weight$|bias$)", r"\1up.", name)
    return canonical


def _name_rows(names: Mapping[str, str], shapes: Mapping[str, Shape]) -> dict[str, str]:
    """The head's last layer, whose rows are the channels, is plain ``weight`` and ``bias``."""
    layers = [
        name.removesuffix("weight")
        for key, name in names.items()
        if re.search(r"(^|\.)weight$", name) and len(shapes[key]) > 1
    ]
    if not layers:
        return dict(names)
    return {key: name.removeprefix(layers[-1]) for key, name in names.items()}
