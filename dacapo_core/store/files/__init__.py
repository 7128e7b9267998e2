"""How files are kept: on any fsspec file system, whole or not seen, durable."""
