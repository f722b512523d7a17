"""Numbers of sets of images, from the features that an extractor makes of them."""
