"""Where checkpoints live, which are best, which may go."""
