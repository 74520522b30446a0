"""The Review tab: people judge summaries blind."""
