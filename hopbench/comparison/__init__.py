"""A comparison: what each round says of each metric, the verdicts, and how they are shown."""
