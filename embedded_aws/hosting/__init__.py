"""What answers requests: SageMaker endpoints and services on ECS, how their fleets change, grow and are counted."""
