"""How much of what, and in which order: amounts, quotas, rotation, permutation; the lock that says it all."""
