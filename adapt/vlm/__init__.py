"""A vision or audio encoder in front of a causal LM: features once, a projector, then tuning in stages."""
