"""The bytes of one checkpoint file: written with digests, mapped, read safely, verified."""
