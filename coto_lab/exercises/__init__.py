"""Checks of what a reader writes in the notebooks: they say what is wrong, not only that something is."""
