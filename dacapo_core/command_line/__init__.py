"""What people type: ``dacapo-store``."""
