"""The numbers that headers hold."""

import re

_NUMBER = re.compile(r"[0-9]{1,15}\Z")


def read_number(text: str) -> int:
    """Return the number in a header.

    Not int(): it takes `1_0`, blanks, any alphabet's digits, and more than a float holds.

    Raises:
        ValueError: it is not 1 to 15 digits.
    """
    if not _NUMBER.match(text):
        raise ValueError("a header that is a number holds 1 to 15 digits")
    return int(text)
