"""The read side of Lectern and the core that both sides share."""
