"""What HealthOmics is: kinds of work, statuses, what they mean, and how answers are parsed. Standard library only."""
