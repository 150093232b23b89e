"""A study file to a run folder: what is computed, in which steps, and where it lies."""
