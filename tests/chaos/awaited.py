"""Protections that are not built yet; empty this as they land."""

AWAITED: frozenset[str] = frozenset({"breaker", "retries", "limits"})
"""Rows whose fault needs one of these are not run, and rules that need one do not judge."""
