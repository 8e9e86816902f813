"""What the layers of a checkpoint know, and from how many tokens on."""
