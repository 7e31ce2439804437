"""What workers share: strangers' messages."""
