"""Recipe in, jobs out: the same stages on a cluster."""
