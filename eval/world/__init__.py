"""A world of composed scenes: real cut-outs, exact ground truth."""
