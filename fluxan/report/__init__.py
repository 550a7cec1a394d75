"""Looking at results: plots, progress bars, reports."""
