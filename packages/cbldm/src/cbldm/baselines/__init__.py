"""Ways to a structure that learn nothing, for use and for comparison."""
