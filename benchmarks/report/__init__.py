"""What benchmarks recorded, as figures, comparisons and a page."""
