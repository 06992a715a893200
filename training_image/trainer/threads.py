"""Numerical libraries on one thread. Import this before numpy or torch: they read these variables once.

The networks here are small: on a contended or quota-limited machine a second thread makes a step up to 15
times slower, and on an idle one it gains nothing. Whoever starts the process may still set another number.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# Read by CUDA's matrix library when it is first used: without it the same sums come out in another order each time.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
