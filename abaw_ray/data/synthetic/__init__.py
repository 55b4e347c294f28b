"""The synthetic data set: ``config.SyntheticConfig`` holds its settings, ``tree.write_synthetic`` writes it."""
