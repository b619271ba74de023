"""Stand-ins for DiffPy-CMI."""
