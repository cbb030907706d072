"""Variants in, scores out."""
