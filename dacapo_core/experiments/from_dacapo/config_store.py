"""DaCapo's configurations as they are stored: ``configs/runs/<name>.yaml``, or Mongo's export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import fsspec
import yaml

from dacapo_core.store.errors import MissingRecordError

RUN_FIELDS = ("task_config", "architecture_config")


class _Loader(yaml.SafeLoader):
    """Reads what DaCapo's YAML holds beside plain values, and never makes an object of it."""


def _plain(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        values = loader.construct_sequence(node, deep=True)
        # a path or a coordinate pickles as the arguments that make it
        return "/".join(map(str, values)) if "Path" in suffix else values
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def read_run(
    configs: str, name: str, storage_options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The stored RunConfig `name`, of DaCapo 0.3.5 or its main branch, as plain values.

    Args:
        configs: path or URL of the ``configs`` folder, or of a ``.json`` file that ``mongoexport``
            wrote of the collection ``runs``.

    Raises:
        MissingRecordError: there is none; the message lists those there are.
        ValueError: it cannot be read, or is no run.
    """
    read = _from_export if configs.endswith(".json") else _from_folder
    run = read(configs, name, storage_options or {})
    if not isinstance(run, dict) or not any(field in run for field in RUN_FIELDS):
        raise ValueError(f"{name!r} in {configs} is no run configuration of DaCapo")
    return run


def _from_folder(configs: str, name: str, options: Mapping[str, Any]) -> Any:
    filesystem, folder = fsspec.core.url_to_fs(configs, **options)
    file = f"{folder.rstrip('/')}/runs/{name}.yaml"
    try:
        text = filesystem.cat_file(file)
    except (FileNotFoundError, NotADirectoryError):
        stored = filesystem.glob(f"{folder.rstrip('/')}/runs/*.yaml")
        names = sorted(each.rpartition("/")[2].removesuffix(".yaml") for each in stored)
        raise MissingRecordError(
            f"there is no run {name!r} in {configs}; "
            + (f"there are {', '.join(names)}" if names else "it has no runs/*.yaml")
        ) from None
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def _from_export(file: str, name: str, options: Mapping[str, Any]) -> Any:
    with fsspec.open(file, "rt", encoding="utf-8", **options) as opened:
        text = opened.read()
    try:
        # mongoexport writes a document a line, or one array
        found = json.loads(text) if text.lstrip().startswith("[") else None
        documents = found or [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    runs = {each.get("name"): each for each in documents if isinstance(each, dict)}
    if name not in runs:
        raise MissingRecordError(
            f"there is no run {name!r} in {file}; there are {', '.join(map(str, runs)) or 'none'}"
        )
    return runs[name]
