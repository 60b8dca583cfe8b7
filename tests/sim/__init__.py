"""Deterministic simulator: real tunnels and packet paths on a seeded, faulty network, in virtual time."""
