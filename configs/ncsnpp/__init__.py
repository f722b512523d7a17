"""NCSN++: the U-Nets of Song et al. 2021 with filters and pyramids."""
