"""Models: reading and checking them, with the standard library alone, and their training (extra `train`)."""
