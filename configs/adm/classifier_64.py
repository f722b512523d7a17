"""Classifier of noised ImageNet, 64 pixels: guided-diffusion's 64x64_classifier.pt."""

from ml_collections import ConfigDict

from configs.shared import adm


def get_config() -> ConfigDict:
    config = adm.classifier(64, depth=4)
    config.model.beta_schedule = "cosine"
    return config
