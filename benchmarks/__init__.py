"""Compares this framework with others, as ratios: `python -m benchmarks [name ...]`.

Machines are shared and noisy, so an absolute figure says little. Our program and the peer's run in
turn, each in a process of its own, and only the two figures of one round are compared; the table
shows the median of those ratios, the lowest and the highest.
"""
