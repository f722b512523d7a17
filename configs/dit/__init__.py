"""DiT: transformers on latents of ImageNet (Peebles & Xie 2023)."""
