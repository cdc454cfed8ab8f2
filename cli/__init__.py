"""The command line: parse, compose, call."""
