"""Images made by optimisation: activation maximisation, inversion, caricature."""
