"""Reference implementations that feed both tests and benchmarks: one module per kernel family."""
