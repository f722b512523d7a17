"""A network as a model of a process: parameterisations, labels, conventions."""
