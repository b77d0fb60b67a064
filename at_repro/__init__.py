"""Attention transfer (Zagoruyko & Komodakis, ICLR 2017), reproduced: maps, losses, networks, runs and figures."""

__version__ = "0.1.0"
