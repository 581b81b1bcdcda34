"""From snapshots to analyses: which kernels make an answer, and in what order."""
