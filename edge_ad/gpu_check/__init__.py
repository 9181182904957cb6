"""Checks of everything that needs an NVIDIA GPU, each in its own process, with one report to send back."""
