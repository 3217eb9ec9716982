"""What keeps `busbar up` from starting.

UpError                  one line for the operator, status 1
├── PortError            a port is in use, wanted twice, or not ours to take
├── StateFolderError     another `up` has the folder, or it cannot be used
└── NotReadyError        a process does not come up
"""


class UpError(Exception):
    """The system cannot be started. The text is for the operator and holds no secret."""


class PortError(UpError):
    """A port is in use, wanted twice, or not ours to take."""


class StateFolderError(UpError):
    """Another `up` has the state folder, or it cannot be used."""


class NotReadyError(UpError):
    """A process that everything needs does not come up."""
