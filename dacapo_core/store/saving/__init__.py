"""From the device to pinned host memory beside the next step."""
