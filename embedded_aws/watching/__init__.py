"""CloudWatch: alarms, and the metrics that they are over."""
