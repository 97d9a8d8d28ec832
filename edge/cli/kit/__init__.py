"""What every command line of the product shares: how it starts and ends, its options, what it prints."""
