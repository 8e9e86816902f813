"""Labels: what reasoning and what visual-world knowledge a text holds."""
