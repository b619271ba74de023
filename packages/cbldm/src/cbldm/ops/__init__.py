"""Computations with more than one back end, each in a folder of its own."""
