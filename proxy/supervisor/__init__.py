"""The process that binds, forks, watches and changes what runs. Never inside trio."""
