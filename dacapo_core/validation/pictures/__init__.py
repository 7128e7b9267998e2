"""Pictures of a run, as PNG bytes."""

from __future__ import annotations

from dacapo_core.validation.pictures.curves import curves_picture
from dacapo_core.validation.pictures.slices import slice_picture

__all__ = ["curves_picture", "slice_picture"]
