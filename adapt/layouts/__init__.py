"""Readers of the official layouts of image and sound collections, one module a layout."""
