"""How much disk finished samples may take where nobody says otherwise; pure, since settings and jobs name it."""

DEFAULT_CACHE_BYTES = 20 * 2**30
