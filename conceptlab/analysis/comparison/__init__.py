"""Agreement of two spaces: distances, RSA, CKA, Procrustes, predictivity, and between runs."""
