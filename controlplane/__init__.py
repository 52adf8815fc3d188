"""The control plane: identity, discovery, policy. Its parts come with their issues."""
