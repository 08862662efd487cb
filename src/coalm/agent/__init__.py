"""Agents: rollouts, the ReAct loop over tools, and chat sessions."""
