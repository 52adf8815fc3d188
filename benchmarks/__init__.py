"""Side by side: what Tulle and the proxies a user would pick instead cost."""
