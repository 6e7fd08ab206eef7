"""The documents: they build into a site, and everything that they show is run."""
