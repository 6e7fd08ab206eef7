"""What explain shows."""
