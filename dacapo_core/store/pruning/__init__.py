"""Letting go of checkpoints: the policy's plan, and carrying it out."""
