"""Classifier of noised ImageNet, 128 pixels: guided-diffusion's 128x128_classifier.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    return adm.classifier(128)
