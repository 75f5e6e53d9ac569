"""One file for each application, or for several that are used alike."""
