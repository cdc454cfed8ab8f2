"""Data sources: a registry, and one file a source. Plain NumPy arrays; no torch here."""
