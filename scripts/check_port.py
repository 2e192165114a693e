"""Says clearly when the port of the chat is taken: python scripts/check_port.py PORT"""

import socket
import sys

port = int(sys.argv[1])
with socket.socket() as probe:
    if probe.connect_ex(("127.0.0.1", port)) == 0:
        sys.exit(
            f"error: port {port} is taken, perhaps by a Lectern that already runs (open http://127.0.0.1:{port}); "
            f"another port: make app PORT={port + 1}"
        )
