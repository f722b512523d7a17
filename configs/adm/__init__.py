"""The U-Nets of improved-diffusion and guided-diffusion, as published."""
