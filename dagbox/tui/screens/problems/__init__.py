"""Problems: what is wrong, since when, why, and the key that leads to the cure."""
