"""What a training tells while it runs, and what watches over it."""
