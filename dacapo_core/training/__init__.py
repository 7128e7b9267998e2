"""A run that trains: its loop, its step, and what they need."""
