"""What samples are held against, from files of any program: sets of images, and statistics of their features."""
