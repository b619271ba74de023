"""Numerical kernels, each behind a contract with a choice of back ends."""
