"""Methods of adaptation, one in each file; `registry` finds them by their names."""
