"""What a machine and an installation have, and what is wrong with them: ``--mode doctor``."""
