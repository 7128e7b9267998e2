"""The prefixes that ``torch.compile`` and data parallelism put into the names of tensors.

Both wrap a module, at the top or anywhere inside, in any order: ``module._orig_mod.conv.weight`` is
``conv.weight``. Checkpoints hold the plain names; loading gives each model the names that it has.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

COMPILED, PARALLEL = "_orig_mod", "module"


def without_wrappers(name: str) -> str:
    """A name without any ``_orig_mod`` or ``module`` in it."""
    return ".".join(part for part in name.split(".") if part not in (COMPILED, PARALLEL))


def inner_module(module: nn.Module) -> nn.Module | None:
    """The module inside a wrapper; None where `module` is no wrapper."""
    from torch import nn

    children = module._modules
    if COMPILED in children:
        return children[COMPILED]
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return children[PARALLEL]
    return None


def plain_state(model: Any, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """A state dict of `model` under the plain model's names.

    A part of a model that happens to be called ``module`` keeps its name.
    """
    inner = _wrapped_paths(model, state)
    if not inner:
        return state
    plain = OrderedDict((_plain(name, inner), value) for name, value in state.items())
    metadata = getattr(state, "_metadata", None)
    if metadata is not None:
        plain._metadata = OrderedDict(  # type: ignore[attr-defined]
            (_plain(path, inner), value) for path, value in metadata.items()
        )
    return plain


def names_for(model: Any, own: Mapping[str, Any], stored: Iterable[str]) -> dict[str, str]:
    """Name in a checkpoint → name in `model`, where the two differ by wrappers alone.

    Args:
        own: the model's state dict.
        stored: all names in the checkpoint; those without a counterpart are left out.
    """
    inner = _wrapped_paths(model, own)
    plain = {_plain(name, inner): name for name in own}
    loose = _unique({name: without_wrappers(name) for name in own})
    names = list(stored)
    found: dict[str, str] = {name: plain[name] for name in names if name in plain}
    found |= {name: name for name in names if name in own and name not in found}
    taken = set(found.values())
    for bare, name in _unique({n: without_wrappers(n) for n in names if n not in found}).items():
        if bare in loose and loose[bare] not in taken:
            found[name] = loose[bare]
    return found


def renamed_state(state: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """A checkpoint's state dict under the names that `names_for` gave."""
    if all(names.get(name, name) == name for name in state):
        return state
    renamed = OrderedDict((names.get(name, name), value) for name, value in state.items())
    metadata = getattr(state, "_metadata", None)
    if metadata is not None:
        versions = {without_wrappers(path): value for path, value in metadata.items()}
        paths = {path for name in renamed for path in _paths(name)}
        renamed._metadata = OrderedDict(  # type: ignore[attr-defined]
            (path, versions[without_wrappers(path)])
            for path in sorted(paths)
            if without_wrappers(path) in versions
        )
    return renamed


def _wrapped_paths(model: Any, names: Iterable[str]) -> set[str]:
    """Paths of the modules in `model` that are inside a wrapper."""
    from torch import nn

    # most models have none, and need no walk
    if not any(COMPILED in name or PARALLEL in name for name in names):
        return set()
    if not isinstance(model, nn.Module):
        return set()
    return {
        f"{path}.{COMPILED if COMPILED in module._modules else PARALLEL}".lstrip(".")
        for path, module in model.named_modules(remove_duplicate=False)
        if inner_module(module) is not None
    }


def _plain(name: str, inner: set[str]) -> str:
    parts = name.split(".")
    return ".".join(part for i, part in enumerate(parts) if ".".join(parts[: i + 1]) not in inner)


def _unique(bare: Mapping[str, str]) -> dict[str, str]:
    """Bare name → its name, for the bare names of only one."""
    count = Counter(bare.values())
    return {short: name for name, short in bare.items() if count[short] == 1}


def _paths(name: str) -> list[str]:
    """The paths of the modules around a tensor, the model itself first."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(len(parts))]
