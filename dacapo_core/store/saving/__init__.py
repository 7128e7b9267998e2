"""Saving in the background: device → pinned host memory, beside the next step → writer."""
