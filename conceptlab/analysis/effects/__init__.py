"""What concepts do to classes: TCAV, decomposition, erasure, and the three side by side."""
