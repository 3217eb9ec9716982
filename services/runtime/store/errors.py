"""What can go wrong with the shared store; nobody's query fails for it.

StoreError
├── StoreAwayError           it does not answer now, or there is none: what was asked may be done, also later
└── StoreRefusedError        it answered with an error
    ├── NotServingError      it serves nobody like us: the password is wrong, or it is still loading
    └── UnknownScriptError   it has to be sent the script's source; never leaves this package
"""


class StoreError(Exception):
    """The store did not do what it was asked."""


class StoreAwayError(StoreError):
    """It does not answer now, or there is none."""


class StoreRefusedError(StoreError):
    """It answered with an error: it is full, or a key holds something else."""


class NotServingError(StoreRefusedError):
    """It would answer anything we ask with an error now."""


class UnknownScriptError(StoreRefusedError):
    """It does not have the script of this digest; nothing was run."""
