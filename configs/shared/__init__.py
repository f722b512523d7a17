"""Parts of configurations that several of them share."""
