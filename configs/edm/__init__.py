"""EDM: preconditioned networks, trained on log-normal noise levels (Karras et al. 2022)."""
