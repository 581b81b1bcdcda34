"""BLAS libraries keep to the thread that calls them; imported before numpy, which loads one.

Products here are small, and the threads that compute are our own: the pool that each BLAS library (numpy's, SciPy's)
would make, one thread a core, waits for work that never comes. Whoever sets these variables keeps what they set.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
