"""How long tests wait for what must happen."""

TIMEOUT_S = 600.0
"""Longest wait in seconds: on a busy machine a worker of Ray with PyTorch takes a minute to start. No test should reach it."""
