"""HTTP in, HTTP out: cache, flights, batches and the manners of a server under load."""
