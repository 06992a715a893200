"""Step Functions: what ministack runs too simply, or lets through."""
