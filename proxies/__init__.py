"""How good and how fast one candidate is: proxy tasks, data, training, step timing, hardware, workers."""
