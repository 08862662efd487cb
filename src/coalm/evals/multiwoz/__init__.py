"""MultiWOZ 2.4: state tracking and task success of published predictions and of live agents."""
