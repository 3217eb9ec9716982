"""With what a service shows NATS who it is, and knows NATS by."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Credentials:
    """All None: what the URL says is enough."""

    nkey_seed: str | None = field(default=None, repr=False)
    """Of the nkey with which the server's challenge is signed."""
    ca_file: Path | None = None
    """Who signs the server's certificate; None: whom this machine trusts, if the URL asks for TLS."""
    cert_file: Path | None = None
    """Our own certificate, for a server that wants one."""
    key_file: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        """Return what TLS is spoken with; None where nothing is said about it.

        Raises:
            OSError: a file cannot be read, or is not what it should be.
        """
        if self.ca_file is None and self.cert_file is None:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context
