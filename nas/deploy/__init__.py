"""Networks to take away: in which forms they leave, and how to tell that a file is what was written."""
