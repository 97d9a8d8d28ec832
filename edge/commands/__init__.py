"""What each command of ``affectd`` does; ``edge.cli`` declares their options and imports them when they are called."""
