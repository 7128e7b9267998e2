"""Configurations of DaCapo, read by name and written as ours."""

from __future__ import annotations

from dacapo_core.experiments.from_dacapo.config_store import read_run
from dacapo_core.experiments.from_dacapo.run_translation import translate_run

__all__ = ["read_run", "translate_run"]
