"""Flow matching: SiT's transformers on latents of ImageNet (Ma et al. 2024), and small ones that train here."""
