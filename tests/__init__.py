"""A package, so that no library's package of this name, such as torch-fidelity's, is imported in its place."""
