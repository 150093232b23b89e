"""Activations of a network over a data set: made once, kept on the disk, read from there."""
