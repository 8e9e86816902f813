"""Documents out of users' files, the model hub, and the packages that ordinary registries carry."""
