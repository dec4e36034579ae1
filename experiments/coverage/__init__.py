"""Empirical coverage of prediction sets, over many draws of calibration images."""
