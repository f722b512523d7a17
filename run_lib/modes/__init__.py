"""The modes of the program, by name. Importing this package registers ours."""

from run_lib.modes import of_data, of_models, of_program

__all__ = ["of_data", "of_models", "of_program"]
