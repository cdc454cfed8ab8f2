"""The `torch.nn.Module` of each block; one file an op, named like its specification."""
