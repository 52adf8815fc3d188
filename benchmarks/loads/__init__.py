"""What is sent through a proxy, and how much of it came back."""
