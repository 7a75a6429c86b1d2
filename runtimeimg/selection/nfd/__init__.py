"""Node Feature Discovery: what it says of nodes, and the artifact by which an image says what it needs of them."""
