"""Numbers of repeated sets of samples of one sampler."""


def over_sets(numbers): ...
