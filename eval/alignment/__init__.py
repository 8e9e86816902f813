"""Whether a language model and a vision encoder find the same things alike."""
