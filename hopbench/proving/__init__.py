"""``hopbench prove``: which findings' refactors hold, and what they gain together."""
