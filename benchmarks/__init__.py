"""Measurements, side by side and as ratios: one command each."""
