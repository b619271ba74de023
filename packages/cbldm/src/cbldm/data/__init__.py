"""Structures and measured curves."""
