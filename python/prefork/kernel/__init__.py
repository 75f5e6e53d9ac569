"""Sessions, events, timers and signals of one process, and the loop they run on."""
