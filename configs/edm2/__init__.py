"""EDM2: magnitude-preserving networks of ImageNet (Karras et al. 2024), in six sizes."""
