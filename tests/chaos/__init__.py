"""The fault suite: real servers, real processes, seeded faults, and a verifier that trusts none of them."""
