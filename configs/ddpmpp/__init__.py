"""DDPM++: the U-Nets of Song et al. 2021 for variance-preserving processes."""
