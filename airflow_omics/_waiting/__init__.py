"""How work is waited for: asking about much of it with few calls, in a task and in the triggerer."""
