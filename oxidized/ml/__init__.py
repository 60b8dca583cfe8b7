"""Models: reading and checking them (no more than the standard library), and their training (extra
`train`)."""
