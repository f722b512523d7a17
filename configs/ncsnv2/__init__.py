"""NCSNv2: RefineNets whose output is divided by the noise level."""
