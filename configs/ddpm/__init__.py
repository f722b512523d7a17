"""DDPM: U-Nets that predict the noise of variance-preserving processes."""
