"""Options: what each is called, where its value comes from, whether it is valid."""
