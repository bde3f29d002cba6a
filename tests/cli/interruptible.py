"""The command in a process of its own that can be interrupted, whoever started the tests."""

import sys

COMMAND = [
    sys.executable,
    "-c",
    # A shell that runs no jobs starts what it puts into the background with SIGINT ignored, and
    # that is inherited: Python then raises no KeyboardInterrupt.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGTERM, signal.SIG_DFL); "
    "from vitrail.cli.main import main; main()",
]
"""What `vitrail` is, before its arguments."""
