"""What we do beside what others do, in one run, as ratios: `python -m benchmarks [name ...]`.

Machines are shared and noisy, so a figure alone says little. Ours and the peer's program take
turns, each in a process of its own, and only the two figures of one round are compared; the table
shows the median of those ratios and how far they spread. Tests never measure time; this does.
"""
