"""How a state is ensured: what holds, what is missing, and starting it."""
