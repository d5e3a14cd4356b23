"""Settings, URLs and the entry points of each process."""
