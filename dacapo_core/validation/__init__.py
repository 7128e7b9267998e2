"""Blocks, predictions, counts, scores."""
