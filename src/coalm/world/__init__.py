"""A small world written by us: services, a database, tools over it, and data made from them."""
