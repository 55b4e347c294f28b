"""Encoders per fold: which subjects train which encoder, and the chips of their annotated frames as images of Stage I."""
