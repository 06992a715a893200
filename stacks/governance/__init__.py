"""What is refused at synthesis, and what independent judges are told to accept."""
