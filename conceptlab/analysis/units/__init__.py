"""Single units: exemplars, receptive fields, polysemanticity, overlap with concepts."""
