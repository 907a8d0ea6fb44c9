"""A month of a simulated fleet through the whole chain, and every figure that is read from it counted again."""
