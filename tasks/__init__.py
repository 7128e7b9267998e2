"""One observable Prefect task for each step of a run."""
