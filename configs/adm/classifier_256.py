"""Classifier of noised ImageNet, 256 pixels: guided-diffusion's 256x256_classifier.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    return adm.classifier(256)
