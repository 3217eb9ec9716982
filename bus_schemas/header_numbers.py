"""The numbers that headers hold."""

_MOST_DIGITS = 15


def read_number(text: str) -> int:
    """Return the number in a header.

    Not int(): it takes `1_0`, blanks, any alphabet's digits, and more than a float holds.

    Raises:
        ValueError: it is not 1 to 15 digits.
    """
    if not (text.isdigit() and text.isascii() and len(text) <= _MOST_DIGITS):
        raise ValueError("a header that is a number holds 1 to 15 digits")
    return int(text)
