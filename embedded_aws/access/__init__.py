"""IAM: who calls, what the call is about, and whether that is allowed."""
