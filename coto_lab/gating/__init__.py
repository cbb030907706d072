"""Gates: which adapters take part in a step, and the schedule by which CoTo draws them."""
