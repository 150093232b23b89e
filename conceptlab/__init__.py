"""How concepts are encoded inside vision networks: extract, dissect, probe, compare."""
