"""Checks of the answers that a reader writes in the notebooks; a check says which mistake a wrong answer contains."""
