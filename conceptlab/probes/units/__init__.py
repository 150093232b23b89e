"""Single units as detectors of concepts: dissection, packing."""
