"""What this machine allows, found out by doing it, and what would become of an object here."""
