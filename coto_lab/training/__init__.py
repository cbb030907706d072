"""From a recipe to a run: the training loop, one adapter or many at once."""
