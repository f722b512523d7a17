"""Published weights: a file per family, and the one loader. ``register_family`` knows ours at its first look-up."""

from models.checkpoints.base import register_family


def _register_families() -> None:
    import models.checkpoints.diffusers
    import models.checkpoints.diffusers_dit
    import models.checkpoints.dit
    import models.checkpoints.guided_diffusion
    import models.checkpoints.ncsn
    import models.checkpoints.nvlabs
    import models.checkpoints.ours
    import models.checkpoints.score_sde  # noqa: F401 - registers


register_family.provided_by(_register_families)
