"""Faults under load, with a ledger of lost and repeated calls."""
