"""The pool: a manager that forks, and workers that serve."""
