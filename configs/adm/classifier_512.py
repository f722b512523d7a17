"""Classifier of noised ImageNet, 512 pixels: guided-diffusion's 512x512_classifier.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    return adm.classifier(512)
