"""Block specifications: what each op is, what it requires and what it costs. No torch here."""
