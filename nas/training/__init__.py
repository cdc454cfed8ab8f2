"""Training what was found, in full: plan, loop, checkpoints, the directory they are kept in."""
