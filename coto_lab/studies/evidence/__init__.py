"""The parts of ``python data/make_evidence.py``: one module per topic of the page."""
