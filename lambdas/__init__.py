"""The pipeline's Lambda functions, one folder each. They share one code asset with `contract/`."""
