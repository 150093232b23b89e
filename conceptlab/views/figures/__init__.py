"""Which figures a run folder gets, from its tables."""
