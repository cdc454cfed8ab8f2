"""The report: one HTML file of one or several runs that needs nothing else, not even a network."""
