"""The segmentation probe: pixels, solvers and the choice of a penalty."""
