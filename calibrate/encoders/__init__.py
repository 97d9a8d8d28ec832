"""Speech encoders behind one interface: pretrained ones, students, and what both are made of."""
