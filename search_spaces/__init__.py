"""What may be built: the language of spaces, architectures, blocks, exact costs and the torch network."""
