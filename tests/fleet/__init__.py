"""A fleet of devices at one broker."""
