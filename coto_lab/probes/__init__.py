"""Probes: small functions that measure a run and return a frozen record."""
