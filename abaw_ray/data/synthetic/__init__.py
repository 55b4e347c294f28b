"""The drawn data set: ``config.SyntheticConfig`` says what, ``tree.write_synthetic`` writes it."""
