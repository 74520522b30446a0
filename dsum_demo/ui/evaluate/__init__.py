"""The Evaluate tab: several systems, many dialogues."""
