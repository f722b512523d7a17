"""A setup of a training, chosen from the size of the images and the machine."""
