"""Putting the gate into an agent's settings, and taking it out again without a trace. One module per agent."""
