"""From voxels on disk to batches on the device that trains."""
