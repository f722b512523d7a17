"""Images of 128 pixels in a folder, trained with a setup chosen for the machine."""

from ml_collections import ConfigDict

from configs.shared import auto


def get_config() -> ConfigDict:
    return auto.images(128)
