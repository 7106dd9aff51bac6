"""``hopbench saturate``: the rate that a design holds, and what gives out first above it."""
