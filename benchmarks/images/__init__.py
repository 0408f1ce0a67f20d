"""What reading, storing and keeping images costs, beside what it cannot do without."""
