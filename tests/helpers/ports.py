"""Places in the network that are free."""

import socket


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
