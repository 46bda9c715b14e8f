"""What `outpost doctor` looks at on the side that holds the keys: the way to the archive, its credential, the canary, the recovery kit."""
