"""Maps from images to the features in which sets of images are compared."""
