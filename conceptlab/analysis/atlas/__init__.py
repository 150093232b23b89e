"""Activation atlases: the layout of a layer or a class, its cells, icons and comparison."""
