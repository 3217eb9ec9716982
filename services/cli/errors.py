"""How a command fails: in one line on stderr, with status 1, or 2 if it was used wrongly.

CommandError           the command was understood and could not be done: status 1
└── ProblemError       a service answered with a problem object
typer.TyperException   the command line is wrong: status 2 (`typer.BadParameter` is what commands raise)
"""

import sys
import traceback
from collections.abc import Callable

import typer

from services.runtime.text import one_line

DONE, FAILED, USAGE = 0, 1, 2


class CommandError(Exception):
    """The command could not be done; its text is the line for the user."""


class ProblemError(CommandError):
    """A service answered with a problem object; `code` is the problem's."""

    def __init__(self, code: str, text: str) -> None:
        """Keep both; `text` is the whole line."""
        super().__init__(text)
        self.code = code


def report(message: str) -> None:
    """Write one line to stderr, whatever `message` holds."""
    print(one_line(message), file=sys.stderr)


def exit_status(command: Callable[[], object]) -> int:
    """Run `command`; return its exit status, and tell of a failure in one line."""
    try:
        status = command()
        sys.stdout.flush()  # here, where a reader that has gone is still ours to handle
    except CommandError as error:
        report(str(error))
        return FAILED
    except typer.TyperException as error:
        report(_usage(error))
        return error.exit_code
    except BrokenPipeError:
        sys.stdout = None  # else the interpreter fails once more when it flushes at exit
        return FAILED
    except Exception as error:  # noqa: BLE001  whatever it is, nobody is shown a traceback
        frame = traceback.extract_tb(error.__traceback__)[-1]
        report(f"busbar: a bug: {type(error).__name__} in {frame.filename.rpartition('/')[2]}:{frame.lineno}")
        return FAILED
    return status if isinstance(status, int) else DONE


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "busbar"
    message = error.format_message().removeprefix("Invalid value: ")
    return f"{command}: {message}{'' if message.endswith(('.', '?')) else '.'} See {command} --help"
