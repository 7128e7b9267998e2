"""Settings of a site: where runs are stored, where published starts are, which device trains.

From the environment (``DACAPO_*``) or from ``dacapo.yaml``, found where DaCapo looks for it
(``dacapo.options``). The environment wins.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

COSEM_URL = (
    "https://janelia-cosem-networks.s3.amazonaws.com/v0003.2-pytorch/cosem_models/cosem_models"
)


class Settings(BaseSettings):
    """Site settings; see the table in the README."""

    # DaCapo's own file has keys that are not ours (type, compute_context, mongo_db_host, …)
    model_config = SettingsConfigDict(env_prefix="DACAPO_", extra="ignore")

    runs_base_dir: str = Field(
        default_factory=lambda: str(Path.home() / "dacapo"),
        description="Where runs are stored: a path or any fsspec URL.",
    )
    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the file system of runs_base_dir (endpoint, credentials), JSON.",
    )
    cosem_url: str = Field(
        default=COSEM_URL,
        description="Where COSEM's published checkpoints are: the public bucket or a mirror.",
    )
    device: str | None = Field(
        default=None,
        description="torch device that trains; default cuda where there is one, else cpu.",
    )
    tensorboard_dir: str | None = Field(
        default=None,
        description="Folder for TensorBoard's event files, one folder a run in it; default none.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = options_file()
        if file is None:
            return (init_settings, env_settings)
        import yaml

        try:
            from_file = YamlConfigSettingsSource(settings_cls, file)
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise ValueError(
                f"{file.absolute()} holds no settings: it must be YAML, with a line `name: value` "
                f"for each, such as `runs_base_dir: /data/runs`. {error}"
            ) from None
        return (init_settings, env_settings, from_file)

    def options_for(self, url: str) -> dict[str, Any]:
        """The storage options, if `url` is on the kind of file system that they are for."""
        from dacapo_core.store.filesystems.location import place_of

        same = place_of(url).protocol == place_of(self.runs_base_dir).protocol
        return dict(self.storage_options) if same else {}


def options_file() -> Path | None:
    """The options file in force: ``$DACAPO_OPTIONS_FILE``, ``./dacapo.yaml``,
    ``~/dacapo.yaml`` or ``~/.config/dacapo/dacapo.yaml``, first found.

    Raises:
        FileNotFoundError: ``DACAPO_OPTIONS_FILE`` names a file that does not exist.
    """
    named = os.environ.get("DACAPO_OPTIONS_FILE")
    if named:
        file = Path(named).expanduser()
        if not file.is_file():
            raise FileNotFoundError(
                f"DACAPO_OPTIONS_FILE names {named!r}, which is not a file; "
                "correct it or unset it to use ./dacapo.yaml or ~/.config/dacapo/dacapo.yaml"
            )
        return file
    home = Path.home()
    candidates = (
        Path("dacapo.yaml"),
        home / "dacapo.yaml",
        home / ".config" / "dacapo" / "dacapo.yaml",
    )
    return next((file for file in candidates if file.is_file()), None)


def get_settings() -> Settings:
    """The settings as they are now; read anew at every call.

    Raises:
        ValueError: a value of the wrong type, or no JSON where JSON is wanted; its key is named.
            Or an options file that holds no settings; it is named.
    """
    try:
        return Settings()
    except SettingsError as error:
        raise ValueError(
            "DACAPO_STORAGE_OPTIONS must be a JSON object, as "
            f'{{"key": "…", "secret": "…"}}: {error.__cause__ or error}'
        ) from None
