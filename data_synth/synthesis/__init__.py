"""Training data by the thousand: generators of identities, shards of them, on one machine or many."""
