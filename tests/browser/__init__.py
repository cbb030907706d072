"""Notebooks and pages in a real browser; as a package, the folder has one browser until its last test."""
