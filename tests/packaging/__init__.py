"""What is given out: manual pages, source distribution, wheel, zipapp."""
