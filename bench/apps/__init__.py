"""The programs that are measured. Each takes its port as the first argument."""
