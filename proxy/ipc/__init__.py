"""What the processes of one proxy say to each other, and over what."""
