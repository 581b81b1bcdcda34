"""Benchmarks: ratios against references in one run, never absolute promises."""
