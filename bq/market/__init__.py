"""Where prices and option chains come from: one Protocol, three markets, and the checks at the door."""
