"""What several tests share: tiny models and corpora, made sounds, pretended hardware, and ways to call a command."""
