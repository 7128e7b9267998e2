"""A weights store by name: where it is and how to get in, kept on the Prefect server."""

from __future__ import annotations

from typing import cast

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.types import SecretDict
from pydantic import Field, field_validator

from dacapo_core.store.filesystems.location import place_of

PREFIX = "block:"


class MissingStoreBlockError(ValueError):
    """The Prefect server has no weights store of that name."""


class WeightsStoreBlock(Block):
    """Where a weights store is, and the credentials that open it.

    In the parameters of a flow it is called ``block:<name>``. The options are encrypted on the
    server; they appear in no log, no page and no parameter.
    """

    _block_type_name = "Weights store"
    _block_type_slug = "weights-store"
    _description = "Where checkpoints are: as a flow's store, write block:<the name of this block>."

    # no _logo_url: Prefect's client takes http and https alone, which no page can load offline

    url: str = Field(
        title="URL", description="A path that every worker has, or an fsspec URL: s3://bucket/runs"
    )
    storage_options: SecretDict = Field(
        default_factory=lambda: SecretDict({}),
        title="Storage options",
        description="fsspec's options as JSON, kept secret: key, secret, endpoint_url, …",
    )

    @field_validator("url")
    @classmethod
    def _means_the_same_on_every_worker(cls, url: str) -> str:
        if place_of(url).protocol == "file" and not url.startswith(("/", "~", "file:", "local:")):
            raise ValueError(
                f"{url!r} depends on the folder a worker runs in; give a whole path or a URL"
            )
        return url


def is_block(place: str) -> bool:
    """Whether a store is named by its block, rather than by a path or URL."""
    return place.startswith(PREFIX)


def load_store_block(place: str) -> WeightsStoreBlock:
    """The block that ``block:<name>`` means.

    Raises:
        MissingStoreBlockError: there is none; the message lists those there are.
    """
    name = place.removeprefix(PREFIX)
    try:
        loaded = WeightsStoreBlock.load(name, _sync=True)  # type: ignore[call-arg]
        return cast(WeightsStoreBlock, loaded)
    except ValueError as error:
        known = _names()
        if name in known:
            raise
        raise MissingStoreBlockError(
            f"no weights store block {name!r} on the Prefect server; there are: "
            f"{', '.join(known) or 'none'}. Make it under Blocks in the UI, or give a path or URL"
        ) from error


def _names() -> list[str]:
    with get_client(sync_client=True) as client:
        try:
            found = client.read_block_documents_by_type(
                WeightsStoreBlock.get_block_type_slug(), include_secrets=False
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            # nobody has deployed to this server, nor made such a block
            return []
    return sorted(document.name for document in found if document.name)
