"""How many chat answers one web process can stream at once: ``make bench-streams``."""
