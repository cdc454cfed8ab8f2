"""What to try next: one file an algorithm, behind `nas.strategies.protocol`."""
