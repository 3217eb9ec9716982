"""The admin service's console, looked at and used in a real browser."""
