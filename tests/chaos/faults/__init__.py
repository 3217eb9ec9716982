"""The rows, one file for each part of the system that breaks."""
