"""What a checkpoint is: a snapshot, written with digests, read safely, verified."""
