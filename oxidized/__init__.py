"""Oxidized: a tunnel daemon that makes bad links behave. Nothing runs at import."""

__version__ = "0.1.0"
