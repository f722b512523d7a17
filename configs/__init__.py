"""Configurations: ``base.py`` holds every default once; each other file states what differs."""
