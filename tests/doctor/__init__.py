"""What doctor says, and what loading and attaching then do."""
