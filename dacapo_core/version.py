"""The version of the distribution; stored with every checkpoint."""

__version__ = "0.1.0"
