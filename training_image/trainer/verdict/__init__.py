"""Whether a policy may be deployed: judged by playing or by a log, beside the champion and simple rules."""
