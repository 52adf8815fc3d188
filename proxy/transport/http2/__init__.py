"""HTTP/2 connections as tasks see them: streams that are awaited, and bytes coalesced."""
