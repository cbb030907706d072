"""The parts of ``python data/make_evidence.py``, with one module per topic of the page."""
