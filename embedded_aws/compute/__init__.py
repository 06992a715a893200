"""AWS Batch: queues and jobs."""
