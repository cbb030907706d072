"""One adapter from several."""
