"""A service that tells what it was given: `born [STATUS]`; the first line on stdout is JSON. Ends at SIGTERM.

Run by the tests of the nursery, which forks it as it does services.
"""

import json
import os
import signal
import sys


def main() -> None:
    """Tell, then end with the status that is asked for, or wait."""
    told = {"arguments": sys.argv[1:], "environment": dict(os.environ), "session": os.getsid(0), "parent": os.getppid()}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    if len(sys.argv) > 1:
        sys.exit(int(sys.argv[1]))
    signal.pause()


if __name__ == "__main__":
    main()
