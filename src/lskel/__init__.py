"""lskel."""
