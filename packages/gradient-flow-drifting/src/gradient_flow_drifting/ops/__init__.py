"""Numerical operators, each with a reference that is its specification."""
