"""What a stranger's folder of recordings holds, and the recipe that fits it."""
