"""What only the leader does: bringing membership into the catalog, and other duties of its term."""
