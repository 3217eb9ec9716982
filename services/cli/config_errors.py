"""How a command tells of a configuration that is wrong."""

from services.cli.errors import CommandError, report
from services.runtime.config.errors import ConfigError


def config_failure(error: ConfigError) -> CommandError:
    """Report all that is wrong but the last, which is the error to raise."""
    for problem in error.problems[:-1]:
        report(f"{error.path}: {problem}")
    return CommandError(f"{error.path}: {error.problems[-1]}")
