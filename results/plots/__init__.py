"""Plots: what is drawn, as plain values, and the two libraries that draw it."""
