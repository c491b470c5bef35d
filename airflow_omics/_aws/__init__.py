"""How AWS is called: client, credentials, rate limit, errors explained, secrets kept."""
