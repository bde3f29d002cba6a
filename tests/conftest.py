"""What all tests share."""

import os

# Two workers on two cores: threads of the one would only wait for those of the other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
