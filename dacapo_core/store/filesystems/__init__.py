"""Files on any fsspec file system: durable, and seen whole or not at all."""
