"""Pages of activation atlases."""
