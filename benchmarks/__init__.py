"""Speed benchmarks of keras_mg against networks hand-written in plain PyTorch (not installed)."""
