"""What is trained, from which start, on which data, how it is judged."""
