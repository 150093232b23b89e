"""Plots of tables and arrays: each takes and returns Axes, or gives a figure."""
