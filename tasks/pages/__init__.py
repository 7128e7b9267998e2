"""What a person sees in the Prefect UI, as pure functions from plain values to text."""
