"""Resampling, streaming statistics, metrics and solvers on arrays; no torch."""
