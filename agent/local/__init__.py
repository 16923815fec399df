"""What lives on this host: its services, their checks, and how the catalog is kept in step."""
