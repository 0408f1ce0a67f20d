"""What requests cost through the gateway, how fresh its answers are, and what it does with more than it can serve."""
