"""Builds the documentation site: `make docs`, or `python -m tools.docs` with the extra `docs`."""
