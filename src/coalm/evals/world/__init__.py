"""The mini world as a benchmark: goals, a scripted user, and what an agent got done."""
