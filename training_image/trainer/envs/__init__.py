"""Environments as a policy sees them: made, vectorised, checked, their spaces and observations in one form."""
