"""Measurements: not tests, they assert nothing about time."""
