"""What queries cost, as far as a test can tell: against a loop that is timed beside them."""
