"""The tests of lskel."""
