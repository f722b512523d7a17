"""DiT-XL/2 on latents of ImageNet, 512 pixels: DiT-XL-2-512x512.pt."""

from ml_collections import ConfigDict

from configs.shared import dit


def get_config() -> ConfigDict:
    return dit.dit("xl", pixels=512)
