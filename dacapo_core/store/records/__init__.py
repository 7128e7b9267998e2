"""What is known of a run: scores, best, pins, lease, history; one small object a fact."""
