"""What the values of metrics that stand for a state mean, and their colours."""

from typing import Final

CONNECTED: Final = {0: ("down", "red"), 1: ("connected", "green")}
UP: Final = {0: ("away", "red"), 1: ("up", "green")}
BREAKER: Final = {0: ("closed", "green"), 1: ("open", "red"), 2: ("half-open", "yellow"), 3: ("isolated", "purple")}
