"""What makes ``affectd run`` a service: commands, reloading, schedules, and the system that starts it."""
