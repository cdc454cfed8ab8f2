"""What has been seen: the ledger, runs, Pareto fronts, frames and exports. No torch, no ray."""
