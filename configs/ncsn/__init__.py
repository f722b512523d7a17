"""NCSN: RefineNets with a normalisation for each noise level."""
