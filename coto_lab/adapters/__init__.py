"""Adapters as data, the layers that carry them, and the blocks that those are on."""
