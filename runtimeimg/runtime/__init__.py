"""Runs through an OCI runtime, without an Engine: an image becomes a bundle, and runc or crun starts it."""
