"""Universes, scans, and what is remembered of them."""
