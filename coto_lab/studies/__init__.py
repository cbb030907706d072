"""What the lab measured: the gallery of finished runs, the statistics, and the evidence."""
