"""Whole platforms at random, and whatever goes wrong with them: `make soak SEEDS=...`.

`deliveries.py` makes files, `platform.py` is what may happen to a platform and what must hold of it
after each step, `search.py` goes through seeds and shrinks what fails, `test_soak.py` is two
minutes of it.
"""
