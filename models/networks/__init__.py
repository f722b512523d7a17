"""Networks, one file each. Importing this package registers ours."""
