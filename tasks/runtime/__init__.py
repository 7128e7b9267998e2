"""What a live run needs of Prefect: its log, events, artifacts, signals and stores."""
